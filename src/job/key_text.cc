// The types and ranges of keys in words, for errors and docs/job.md.
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "job/keys.h"

namespace instep::job {
namespace {

std::string list(Words words) {
  std::vector<std::string> out;
  for (const std::string_view word : words) out.emplace_back(word.empty() ? "empty" : word);
  return join(out, ", ");
}

std::string integer_range(const Limits& limits) {
  if (limits.least == limits.most) return cat(limits.least);
  return cat(limits.least, " to ", limits.most);
}

std::string number_range(const Limits& limits) {
  const std::string low = shortest(limits.low);
  const std::string high = shortest(limits.high);
  if (!limits.above_low && !limits.below_high) return cat(low, " to ", high);
  return cat(limits.above_low ? "above " : "from ", low, ", ",
             limits.below_high ? "below " : "at most ", high);
}

struct Texts {
  std::string type, range, allowed;
};

struct Describe {
  const Limits& limits;
  Texts operator()(const bool*) const { return {"true or false", "true, false", "true or false"}; }
  Texts operator()(const std::int64_t*) const {
    const std::string range = integer_range(limits);
    return {"integer", range, cat("an integer, ", range)};
  }
  Texts operator()(const std::uint64_t*) const {
    return (*this)(static_cast<std::int64_t*>(nullptr));
  }
  Texts operator()(const double*) const {
    const std::string range = number_range(limits);
    return {"number", range, cat("a number, ", range)};
  }
  Texts operator()(const std::optional<double>*) const {
    return (*this)(static_cast<double*>(nullptr));
  }
  Texts operator()(const std::string*) const {
    if (!limits.words.empty()) {
      const std::string words = list(limits.words);
      return {"word", words, cat("one of ", words)};
    }
    if (limits.text == Limits::Text::kName) {
      const std::string range = "1 to 64 of a-z A-Z 0-9 . _ -, beginning with a letter or digit";
      return {"name", range, cat("a name, ", range)};
    }
    const bool path = limits.text == Limits::Text::kPath;
    const std::string range = cat("at most ", kMaxTextBytes, " bytes");
    return {path ? "path" : "text", range,
            cat(path ? "a path" : "a text", " of ", range, ", UTF-8, no control characters")};
  }
  Texts operator()(const std::vector<std::int64_t>*) const {
    const std::string range = cat("at most ", kMaxListItems, " of ", integer_range(limits));
    return {"list of integers", range, cat("a list of integers, ", range)};
  }
  Texts operator()(const std::vector<std::string>*) const {
    const std::string words = list(limits.words);
    return {"list of words", words, cat("a list of ", words)};
  }
  Texts operator()(const WordRef& ref) const {
    const std::string words = list(ref.words);
    return {"word", words, cat("one of ", words)};
  }
};

Texts texts(const Key& key) {
  Job job;
  job.optimizer.groups.emplace_back();
  return std::visit(Describe{key.limits}, key.at(job, 0));
}

}  // namespace

std::string type_text(const Key& key) { return texts(key).type; }
std::string range_text(const Key& key) { return texts(key).range; }
std::string allowed_text(const Key& key) { return texts(key).allowed; }

}  // namespace instep::job
