// The texts of --fault and --chaos.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "base/time.h"
#include "coord/drill.h"
#include "fabric/host_memory.h"

namespace instep::coord {
namespace {

constexpr std::size_t kMaxText = 64 << 10;
constexpr std::size_t kMaxFaults = 1000;
constexpr std::uint64_t kMaxRound = 1'000'000'000'000;
constexpr std::string_view kCoordinator = "coordinator";
constexpr double kMaxFactor = 100;
constexpr double kMaxSeconds = 86'400;

struct Form {
  std::string_view word;
  FaultKind kind;
  bool agent;
  std::string_view shape, example;
};

constexpr std::array kForms = {
    Form{"kill", FaultKind::kKill, true, "kill AGENT at ROUND", "kill 2 at 100"},
    Form{"hang", FaultKind::kHang, true, "hang AGENT at ROUND for TIME", "hang 1 at 200 for 5s"},
    Form{"slow", FaultKind::kSlow, true, "slow AGENT by FACTOR at ROUND", "slow 3 by 3x at 50"},
    Form{"join", FaultKind::kJoin, false, "join at ROUND", "join at 300"},
    Form{"leave", FaultKind::kLeave, true, "leave AGENT at ROUND", "leave 0 at 400"},
    Form{"flip", FaultKind::kFlip, false, "flip at ROUND", "flip at 120"},
};

const Form& form_of(FaultKind kind) {
  return *std::find_if(kForms.begin(), kForms.end(),
                       [kind](const Form& form) { return form.kind == kind; });
}

// As an error shows it: short, and on one line.
std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::string out = "'";
  for (const char c : text.substr(0, kMost)) {
    out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  }
  return out + (text.size() > kMost ? "…'" : "'");
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!(text = trimmed(text)).empty()) {
    out.push_back(text.substr(0, text.find_first_of(" \t\r\n")));
    text.remove_prefix(out.back().size());
  }
  return out;
}

template <class T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// "5s", "250ms", "1.5min" in nanoseconds.
std::optional<std::int64_t> duration_in(std::string_view text, double least_seconds) {
  struct Unit {
    std::string_view word;
    double seconds;
  };
  for (const Unit& unit : {Unit{"ms", 1e-3}, Unit{"min", 60}, Unit{"s", 1}}) {
    if (!text.ends_with(unit.word)) continue;
    const auto value = number_in<double>(text.substr(0, text.size() - unit.word.size()));
    if (!value || !std::isfinite(*value)) return std::nullopt;
    const double seconds = *value * unit.seconds;
    if (seconds < least_seconds || seconds > kMaxSeconds) return std::nullopt;
    return static_cast<std::int64_t>(std::llround(seconds * kSecond));
  }
  return std::nullopt;
}

std::string duration_text(std::int64_t ns) {
  const double seconds = static_cast<double>(ns) / kSecond;
  return seconds < 1 ? cat(number(seconds * 1e3, 3), "ms") : cat(number(seconds, 6), "s");
}

// One part of --fault between two ';'.
class FaultReader {
 public:
  FaultReader(std::string_view part, std::size_t place) : part_(part), place_(place) {}

  Result<Fault> read() {
    const std::vector<std::string_view> words = words_of(part_);
    INSTEP_RETURN_IF_ERROR(find_form(words.front()));
    fault_.kind = form_->kind;
    std::size_t at = 1;
    if (form_->agent) {
      INSTEP_RETURN_IF_ERROR(take_agent(at < words.size() ? words[at] : ""));
      ++at;
    }
    for (; at < words.size(); at += 2) {
      INSTEP_RETURN_IF_ERROR(take_clause(words[at], at + 1 < words.size() ? words[at + 1] : ""));
    }
    if (!round_) return lacks("the round: at ROUND");
    if (fault_.kind == FaultKind::kHang && !lasts_) return lacks("the time: for TIME");
    if (fault_.kind == FaultKind::kSlow && !factor_) return lacks("the factor: by FACTOR");
    return fault_;
  }

 private:
  Error wrong(const std::string& what) const {
    return invalid(cat("--fault: part ", place_, ", ", in_quotes(trimmed(part_)), ": ", what));
  }
  Error lacks(const char* what) const {
    return wrong(cat("it lacks ", what, "; write it as '", form_->example, "'"));
  }
  Error found(std::string_view word, const std::string& allowed) const {
    return wrong(cat("found ", word.empty() ? "nothing" : in_quotes(word), "; allowed: ", allowed));
  }

  Status find_form(std::string_view word) {
    std::vector<std::string> known;
    for (const Form& form : kForms) {
      if (form.word == word) form_ = &form;
      known.emplace_back(form.word);
    }
    if (form_ != nullptr) return {};
    const std::string near = nearest(word, known);
    return found(word,
                 cat(join(known, ", "), near.empty() ? "" : cat("; did you mean '", near, "'?")));
  }

  Status take_agent(std::string_view word) {
    const bool coordinator = fault_.kind == FaultKind::kKill || fault_.kind == FaultKind::kHang;
    if (coordinator && word == kCoordinator) {
      fault_.agent = kTheCoordinator;
      return {};
    }
    const auto agent = number_in<std::uint32_t>(word);
    if (!agent || *agent >= fabric::kMaxSlots) {
      return found(
          word, cat("an agent's number, 0 to ", fabric::kMaxSlots - 1,
                    coordinator ? ", or coordinator, as in '" : ", as in '", form_->example, "'"));
    }
    fault_.agent = static_cast<member::AgentId>(*agent);
    return {};
  }

  Status take_clause(std::string_view word, std::string_view value) {
    bool* seen = word == "at"                                       ? &round_
                 : word == "for" && form_->kind == FaultKind::kHang ? &lasts_
                 : word == "by" && form_->kind == FaultKind::kSlow  ? &factor_
                                                                    : nullptr;
    if (seen == nullptr) return found(word, std::string(form_->shape));
    if (std::exchange(*seen, true)) return wrong(cat("'", word, "' stands there twice"));
    if (word == "at") return take_round(value);
    if (word == "by") return take_factor(value);
    const auto lasts = duration_in(value, 1e-3);
    if (!lasts) return found(value, "a time, 1ms to 86400s, as 250ms, 5s or 2min");
    fault_.lasts_ns = *lasts;
    return {};
  }

  Status take_round(std::string_view value) {
    const auto round = number_in<std::uint64_t>(value);
    if (!round || *round > kMaxRound) return found(value, cat("a round, 0 to ", kMaxRound));
    fault_.round = *round;
    return {};
  }

  Status take_factor(std::string_view value) {
    const bool x = value.ends_with('x');
    const auto factor = number_in<double>(value.substr(0, value.size() - (x ? 1 : 0)));
    if (!x || !factor || !(*factor > 1) || *factor > kMaxFactor) {
      return found(value, cat("a factor above 1x, at most ", kMaxFactor, "x, as 3x"));
    }
    fault_.factor = *factor;
    return {};
  }

  std::string_view part_;
  std::size_t place_;
  const Form* form_ = nullptr;
  Fault fault_;
  bool round_ = false, lasts_ = false, factor_ = false;
};

Status take_kinds(std::string_view text, std::vector<FaultKind>& kinds) {
  constexpr std::string_view kAllowed = "kill, hang, join, leave, with + between them";
  kinds.clear();
  for (const std::string_view word : split(text, '+')) {
    const auto form = std::find_if(kForms.begin(), kForms.end(),
                                   [word](const Form& known) { return known.word == word; });
    const bool random =
        form != kForms.end() && form->kind != FaultKind::kSlow && form->kind != FaultKind::kFlip;
    if (!random) {
      return invalid(cat("--chaos: kinds: found ", word.empty() ? "nothing" : in_quotes(word),
                         "; allowed: ", kAllowed));
    }
    if (std::find(kinds.begin(), kinds.end(), form->kind) == kinds.end()) {
      kinds.push_back(form->kind);
    }
  }
  return {};
}

Status take_chaos(std::string_view key, std::string_view value, Chaos& chaos) {
  if (key == "kinds") return take_kinds(value, chaos.kinds);
  const auto wrong = [&](const char* allowed) {
    return invalid(cat("--chaos: ", key, ": found ", value.empty() ? "nothing" : in_quotes(value),
                       "; allowed: ", allowed));
  };
  if (key == "seed") {
    const auto seed = number_in<std::uint64_t>(value);
    if (!seed) return wrong("a number, 0 to 18446744073709551615");
    chaos.seed = *seed;
    return {};
  }
  const auto mtbf = duration_in(value, 10e-3);
  if (!mtbf) return wrong("a time, 10ms to 86400s, as 500ms, 2s or 1min");
  chaos.mtbf_ns = *mtbf;
  return {};
}

}  // namespace

std::string to_text(const Fault& fault) {
  const Form& form = form_of(fault.kind);
  std::string out(form.word);
  if (form.agent) {
    out += fault.agent == kTheCoordinator ? cat(' ', kCoordinator) : cat(' ', fault.agent);
  }
  if (fault.kind == FaultKind::kSlow) out += cat(" by ", number(fault.factor, 6), "x");
  out += cat(" at ", fault.round);
  if (fault.kind == FaultKind::kHang) out += cat(" for ", duration_text(fault.lasts_ns));
  return out;
}

Result<std::vector<Fault>> parse_faults(std::string_view text) {
  if (text.size() > kMaxText) {
    return invalid(cat("--fault: found ", text.size(), " bytes; allowed: at most ", kMaxText));
  }
  std::vector<std::string_view> parts = split(text, ';');
  if (parts.size() > 1 && trimmed(parts.back()).empty()) parts.pop_back();
  if (parts.size() > kMaxFaults) {
    return invalid(cat("--fault: found ", parts.size(), " faults; allowed: at most ", kMaxFaults));
  }
  std::vector<Fault> out;
  for (const std::string_view part : parts) {
    const std::size_t place = out.size() + 1;
    if (trimmed(part).empty()) {
      return invalid(cat("--fault: part ", place,
                         " is empty; allowed: faults with ';' between them, as "
                         "'kill 2 at 100; join at 300'"));
    }
    INSTEP_ASSIGN_OR_RETURN(Fault fault, FaultReader(part, place).read());
    out.push_back(fault);
  }
  return out;
}

Result<Chaos> parse_chaos(std::string_view text) {
  if (text.size() > kMaxText) {
    return invalid(cat("--chaos: found ", text.size(), " bytes; allowed: at most ", kMaxText));
  }
  const std::vector<std::string> known = {"mtbf", "seed", "kinds"};
  Chaos chaos;
  std::vector<std::string> seen;
  for (const std::string_view part : split(text, ',')) {
    const std::string_view setting = trimmed(part);
    const std::size_t equals = setting.find('=');
    const std::string key(trimmed(setting.substr(0, equals)));
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const std::string near = nearest(key, known);
      return invalid(cat("--chaos: found ", key.empty() ? "nothing" : in_quotes(key),
                         "; allowed: mtbf=TIME, seed=NUMBER, kinds=KIND+KIND, "
                         "as 'mtbf=2s,seed=7'",
                         near.empty() ? "" : cat("; did you mean '", near, "'?")));
    }
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) {
      return invalid(cat("--chaos: ", key, " stands there twice"));
    }
    seen.push_back(key);
    const std::string_view value =
        equals == std::string_view::npos ? "" : trimmed(setting.substr(equals + 1));
    INSTEP_RETURN_IF_ERROR(take_chaos(key, value, chaos));
  }
  if (chaos.mtbf_ns == 0) {
    return invalid(cat("--chaos: ", in_quotes(text),
                       " lacks the mean time between faults; write it as 'mtbf=2s,seed=7'"));
  }
  return chaos;
}

}  // namespace instep::coord
