#include <optional>
#include <utility>

#include "base/text.h"
#include "data/csv_scanner.h"
#include "data/npy.h"

namespace instep::data {
namespace {

// A Python literal of the one form that numpy writes: {'descr': '<f4', 'fortran_order': False,
// 'shape': (3, 4), }. The first thing that is not as it should be ends it.
class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Result<NpyHeader> run() {
    if (!take('{')) return damaged("no dictionary begins there");
    while (!take('}')) {
      INSTEP_RETURN_IF_ERROR(item());
      if (take(',')) continue;
      if (!take('}')) return damaged("after a value a comma or the dictionary's end is due");
      break;
    }
    skip_spaces();
    if (at_ != text_.size()) return damaged("something follows the dictionary");
    if (!type_ || !fortran_ || !extents_) {
      return damaged(cat(!type_      ? "descr"
                         : !fortran_ ? "fortran_order"
                                     : "shape",
                         " is not in it"));
    }
    return NpyHeader{std::move(*type_), *fortran_, std::move(*extents_)};
  }

 private:
  Error damaged(const std::string& what) const {
    return invalid(cat(name_, " is no whole NPY array: in its header ", show_field(text_), " ",
                       what, "; save it again with numpy.save"));
  }
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(char due) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != due) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  std::optional<std::string> text() {
    const char quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
    const std::size_t end = quote == '\0' ? std::string_view::npos : text_.find(quote, at_);
    if (end == std::string_view::npos) return std::nullopt;
    std::string out(text_.substr(at_, end - at_));
    at_ = end + 1;
    return out;
  }

  Status item() {
    const std::optional<std::string> key = text();
    if (!key || !take(':')) return damaged("a key in quotes and a colon are due");
    if (*key == "descr" && !type_) return type();
    if (*key == "shape" && !extents_) return shape();
    if (*key == "fortran_order" && !fortran_) {
      if (take_word("True")) {
        fortran_ = true;
      } else if (take_word("False")) {
        fortran_ = false;
      } else {
        return damaged("fortran_order is neither True nor False");
      }
      return {};
    }
    return damaged(cat(show_field(*key), " is unknown or there twice"));
  }

  Status type() {
    if (take('[') || take('(')) {
      return invalid(cat(name_, " holds records of several fields (a structured type); save one ",
                         "array of numbers for the samples and one for the targets"));
    }
    type_ = text();
    return type_ ? Status() : damaged("descr is no text");
  }

  Status shape() {
    if (!take('(')) return damaged("shape is no tuple");
    std::vector<std::int64_t> extents;
    while (!take(')')) {
      INSTEP_ASSIGN_OR_RETURN(const std::int64_t extent, number());
      extents.push_back(extent);
      if (take(',')) continue;
      if (!take(')')) return damaged("shape is not closed");
      break;
    }
    extents_ = std::move(extents);
    return {};
  }

  Result<std::int64_t> number() {
    skip_spaces();
    const std::size_t first = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, std::int64_t{10}, &value) ||
          __builtin_add_overflow(value, std::int64_t{text_[at_] - '0'}, &value)) {
        return damaged("an extent is too large");
      }
    }
    if (at_ == first) return damaged("shape holds something else than whole numbers");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // as Python 2 wrote
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::optional<std::string> type_;
  std::optional<bool> fortran_;
  std::optional<std::vector<std::int64_t>> extents_;
};

}  // namespace

Result<NpyHeader> parse_npy_header(std::string_view text, const std::string& name) {
  return Parser(text, name).run();
}

}  // namespace instep::data
