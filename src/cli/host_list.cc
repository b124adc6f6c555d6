#include "cli/host_list.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/text.h"
#include "base/utf8.h"
#include "fabric/host_memory.h"

namespace instep::cli {
namespace {

// Beyond any run, and each costs a process.
constexpr std::size_t kMostHosts = 1024;
constexpr std::size_t kLongestName = 255;
constexpr int kMostShown = 60;

Error found(std::string_view what, const std::string& allowed) {
  return invalid(cat("found '", fit(what, kMostShown), "'; allowed: ", allowed));
}

Result<std::uint32_t> read_slots(std::string_view text) {
  std::uint32_t slots = 0;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), slots);
  if (done.ec != std::errc() || done.ptr != text.data() + text.size() || slots < 1 ||
      slots > fabric::kMaxSlots) {
    return found(text, cat("1 to ", fabric::kMaxSlots, " slots"));
  }
  return slots;
}

// It is given to a command, and names a file: no option, no path.
bool is_name(std::string_view name, bool address) {
  const auto fits = [address](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || c == '.' || c == '-' || c == '_' || c == '@' ||
           (address && (c == ':' || c == '%'));
  };
  return !name.empty() && name.size() <= kLongestName && name.front() != '-' &&
         name.front() != '.' && std::all_of(name.begin(), name.end(), fits);
}

// NAME, NAME:SLOTS, [ADDRESS] or [ADDRESS]:SLOTS.
Result<ListedHost> read_host(std::string_view word) {
  const char* const form = "a host as NAME, NAME:SLOTS or [IPV6]:SLOTS";
  ListedHost out;
  std::string_view rest;
  bool address = false;
  const std::size_t open = word.find('[');
  const std::size_t close = word.find(']');
  if (open != std::string_view::npos && close != std::string_view::npos && close > open) {
    out.name = cat(word.substr(0, open), word.substr(open + 1, close - open - 1));
    rest = word.substr(close + 1);
    address = open == 0 || word[open - 1] == '@';
    if (!address || (!rest.empty() && rest.front() != ':')) return found(word, form);
  } else {
    const std::size_t colon = word.find(':');
    out.name = word.substr(0, colon);
    if (colon != std::string_view::npos) rest = word.substr(colon);
    if (rest.find(':', 1) != std::string_view::npos) return found(word, form);
  }
  if (!is_name(out.name, address)) return found(word, form);
  if (rest.empty()) return out;
  INSTEP_ASSIGN_OR_RETURN(out.slots, read_slots(rest.substr(1)));
  return out;
}

// At blanks, and '=' is a word.
std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r\v\f";
  std::vector<std::string_view> out;
  while (true) {
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.empty()) return out;
    const std::size_t end =
        line.front() == '=' ? 1 : std::min(line.find_first_of(" \t\r\v\f="), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

Result<ListedHost> read_line(const std::vector<std::string_view>& words) {
  INSTEP_ASSIGN_OR_RETURN(ListedHost out, read_host(words[0]));
  std::optional<std::uint32_t> most;
  for (std::size_t i = 1; i < words.size(); i += 3) {
    const bool slots = words[i] == "slots";
    const bool bound = words[i] == "max_slots" || words[i] == "max-slots";
    if ((!slots && !bound) || i + 2 >= words.size() || words[i + 1] != "=") {
      return found(words[i], "slots=N and max_slots=N behind a host's name");
    }
    std::optional<std::uint32_t>& into = slots ? out.slots : most;
    if (into) return invalid(cat("slots of ", out.name, " are given twice"));
    INSTEP_ASSIGN_OR_RETURN(into, read_slots(words[i + 2]));
  }
  if (most) out.slots = std::min(out.slots.value_or(*most), *most);
  return out;
}

class List {
 public:
  // `where` names the place for a later host of the same name.
  Status add(ListedHost host, const std::string& where) {
    const auto [at, is_new] = places_.emplace(host.name, where);
    if (!is_new) {
      return invalid(cat("host ", host.name, " is listed twice", at->second,
                         "; give all its slots in one place"));
    }
    if (hosts_.size() == kMostHosts) return invalid(cat("more than ", kMostHosts, " hosts"));
    hosts_.push_back(std::move(host));
    return {};
  }
  std::vector<ListedHost> take() { return std::move(hosts_); }

 private:
  std::vector<ListedHost> hosts_;
  std::map<std::string, std::string> places_;
};

}  // namespace

Result<std::vector<ListedHost>> parse_host_file(std::string_view text, const std::string& place) {
  List list;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, std::min(text.find('#'), end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::vector<std::string_view> words = words_of(line);
    if (words.empty()) continue;
    auto host = read_line(words);
    Status status =
        host.ok() ? list.add(host.take(), cat(", first in line ", number)) : Status(host.error());
    if (!status.ok()) return invalid(cat(place, ":", number, ": ", status.error().message));
  }
  std::vector<ListedHost> out = list.take();
  if (out.empty())
    return invalid(cat(place, " lists no host; allowed: a line a host, as 'node1 slots=4'"));
  return out;
}

Result<std::vector<ListedHost>> parse_host_words(std::string_view text) {
  List list;
  while (true) {
    const std::size_t end = std::min(text.find(','), text.size());
    auto host = read_host(text.substr(0, end));
    const Status status = host.ok() ? list.add(host.take(), "") : Status(host.error());
    if (!status.ok()) return invalid(cat("--hosts: ", status.error().message));
    if (end == text.size()) return list.take();
    text.remove_prefix(end + 1);
  }
}

}  // namespace instep::cli
