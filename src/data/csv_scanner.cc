#include "data/csv_scanner.h"

#include <utility>

#include "base/text.h"

namespace instep::data {

CsvScanner::CsvScanner(char* text, std::uint64_t size, std::string name)
    : at_(text), end_(text + size), name_(std::move(name)) {
  if (std::string_view(text, size).starts_with("\xef\xbb\xbf")) at_ += 3;
}

Error CsvScanner::error(std::string_view what) const {
  return invalid(cat(name_, ":", row_line_, ": ", what));
}

Result<std::string_view> CsvScanner::quoted_field() {
  char* const start = ++at_;
  char* put = start;
  while (true) {
    if (at_ == end_) return error("a quoted field is not closed before the end of the file");
    if (*at_ == '"') {
      ++at_;
      if (at_ == end_ || *at_ != '"') break;
    } else if (*at_ == '\n') {
      ++line_;
    }
    *put++ = *at_++;
  }
  if (at_ != end_ && *at_ == '\r') ++at_;
  if (at_ != end_ && *at_ != ',' && *at_ != '\n') {
    return error(cat("after a closing quote comes ", show_field({at_, 1}),
                     "; a comma or the end of the line is due"));
  }
  return std::string_view(start, static_cast<std::size_t>(put - start));
}

Result<bool> CsvScanner::next(std::vector<std::string_view>& fields) {
  fields.clear();
  while (at_ != end_ && (*at_ == '\n' || (*at_ == '\r' && at_ + 1 != end_ && at_[1] == '\n'))) {
    if (*at_++ == '\n') ++line_;
  }
  row_line_ = line_;
  if (at_ == end_) return false;
  while (true) {
    if (at_ != end_ && *at_ == '"') {
      INSTEP_ASSIGN_OR_RETURN(const std::string_view field, quoted_field());
      fields.push_back(field);
    } else {
      const char* const start = at_;
      while (at_ != end_ && *at_ != ',' && *at_ != '\n') ++at_;
      const char* stop = at_;
      const bool last = at_ == end_ || *at_ == '\n';
      if (last && stop != start && stop[-1] == '\r') --stop;
      fields.emplace_back(start, static_cast<std::size_t>(stop - start));
    }
    if (at_ == end_) return true;
    if (*at_++ == '\n') {
      ++line_;
      return true;
    }
  }
}

std::string show_field(std::string_view field) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : field.substr(0, kShown)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (field.size() > kShown ? "…'" : "'");
}

}  // namespace instep::data
