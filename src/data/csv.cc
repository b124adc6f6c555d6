#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/text.h"
#include "data/csv_scanner.h"
#include "data/readers.h"

namespace instep::data {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <class T>
std::optional<T> parse_as(std::string_view text) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A finite float, or nothing. What is too small for a float is 0 or a subnormal.
std::optional<float> parse_float(std::string_view field) {
  std::string_view text = trim(field);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  std::optional<float> value = parse_as<float>(text);
  if (!value) {
    const std::optional<double> wide = parse_as<double>(text);
    if (wide) value = static_cast<float>(*wide);
  }
  if (value && !std::isfinite(*value)) return std::nullopt;
  return value;
}

Error bad_number(const CsvScanner& scanner, std::size_t column, std::string_view field,
                 std::string_view due) {
  return scanner.error(cat("column ", column + 1, " holds ", show_field(field), "; ", due));
}

// The target's column by name, by number from 1, or the last.
Result<std::size_t> find_target(const CsvScanner& scanner, const std::string& wanted,
                                const std::vector<std::string>& names, std::size_t columns) {
  if (wanted.empty()) return columns - 1;
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const std::optional<std::uint64_t> number = parse_as<std::uint64_t>(wanted);
  if (number && *number >= 1 && *number <= columns) return static_cast<std::size_t>(*number - 1);
  if (number || names.empty()) {
    return scanner.error(cat("there is no target column ", show_field(wanted),
                             "; it is a number from", " 1 to ", columns,
                             names.empty() ? "" : " or a name of the header"));
  }
  const std::string near = nearest(wanted, names);
  return scanner.error(cat("there is no target column ", show_field(wanted),
                           near.empty() ? "" : cat("; did you mean ", show_field(near), "?"),
                           "; the header has ", columns, " columns"));
}

Result<std::int32_t> parse_class(const CsvScanner& scanner, std::size_t column,
                                 std::string_view field, std::int64_t classes) {
  const std::int64_t limit = classes > 0 ? classes : kMaxInferredClasses;
  std::string_view text = trim(field);
  // Exports of data frames write labels as "3.0".
  if (const std::size_t point = text.find('.');
      point != 0 && point != std::string_view::npos &&
      text.find_first_not_of('0', point + 1) == std::string_view::npos) {
    text = text.substr(0, point);
  }
  const std::optional<std::int64_t> value = parse_as<std::int64_t>(text);
  if (!value || *value < 0 || *value >= limit) {
    return bad_number(scanner, column, field,
                      cat("a class label is due, a whole number from 0 to ", limit - 1));
  }
  return static_cast<std::int32_t>(*value);
}

// What the first line says of all others.
struct Layout {
  std::uint64_t columns = 0, target = 0, line = 0;
  std::vector<std::string> names;
};

Result<Layout> read_layout(const CsvScanner& scanner, const std::vector<std::string_view>& fields,
                           const job::Data& spec, bool with_target) {
  Layout layout;
  layout.columns = fields.size();
  layout.line = scanner.line();
  if (!with_target) {
    layout.target = layout.columns;  // no column is the target
    return layout;
  }
  if (layout.columns < 2) {
    return scanner.error(
        "the first line has one column; a feature and a target are due, separated by commas");
  }
  if (spec.header) {
    for (const std::string_view field : fields) layout.names.emplace_back(trim(field));
  }
  INSTEP_ASSIGN_OR_RETURN(layout.target,
                          find_target(scanner, spec.target_column, layout.names, layout.columns));
  return layout;
}

Status fill_features(const CsvScanner& scanner, const std::vector<std::string_view>& fields,
                     const Layout& layout, float* out) {
  for (std::size_t i = 0; i < layout.columns; ++i) {
    if (i == layout.target) continue;
    const std::optional<float> value = parse_float(fields[i]);
    if (!value) {
      const bool names = layout.names.empty() && scanner.line() == layout.line;
      return bad_number(
          scanner, i, fields[i],
          cat("a finite number is due",
              names ? "; if this line names the columns, set data.header = true" : ""));
    }
    *out++ = *value;
  }
  return {};
}

Result<float> parse_target(const CsvScanner& scanner, std::size_t column, std::string_view field,
                           job::Loss loss) {
  const std::optional<float> value = parse_float(field);
  if (!value) return bad_number(scanner, column, field, "a finite number is due");
  if (loss == job::Loss::kBce && !(*value >= 0 && *value <= 1)) {
    return bad_number(scanner, column, field, "a target from 0 to 1 is due with loss bce");
  }
  return *value;
}

// Reads rows from the one in `fields` to the end.
Result<Table> read_rows(CsvScanner& scanner, std::vector<std::string_view>& fields,
                        const Layout& layout, std::uint64_t max_rows, const job::Data& spec,
                        job::Loss loss) {
  const bool with_target = layout.target < layout.columns;
  const std::uint64_t width = layout.columns - (with_target ? 1 : 0);
  INSTEP_ASSIGN_OR_RETURN(Memory values, allocate_array(max_rows, width, 4, scanner.name()));
  INSTEP_ASSIGN_OR_RETURN(Memory targets, allocate_array(max_rows, 1, 4, scanner.name()));
  auto* x = reinterpret_cast<float*>(values.get());
  auto* classes = reinterpret_cast<std::int32_t*>(targets.get());
  auto* y = reinterpret_cast<float*>(targets.get());
  const bool labels = with_target && loss == job::Loss::kCrossEntropy;
  Table table;
  for (bool more = true; more; ++table.size) {
    if (fields.size() != layout.columns) {
      return scanner.error(cat(fields.size(), fields.size() == 1 ? " column" : " columns",
                               ", where line ", layout.line, " has ", layout.columns));
    }
    INSTEP_CHECK(table.size < max_rows, "a CSV file has at most the rows that its size allows");
    INSTEP_RETURN_IF_ERROR(fill_features(scanner, fields, layout, x + table.size * width));
    const std::string_view field = with_target ? fields[layout.target] : std::string_view();
    if (labels) {
      INSTEP_ASSIGN_OR_RETURN(classes[table.size],
                              parse_class(scanner, layout.target, field, spec.classes));
      table.class_count =
          std::max<std::int64_t>(table.class_count, classes[table.size] + INT64_C(1));
    } else if (with_target) {
      INSTEP_ASSIGN_OR_RETURN(y[table.size], parse_target(scanner, layout.target, field, loss));
    }
    INSTEP_ASSIGN_OR_RETURN(more, scanner.next(fields));
  }
  table.kind = Kind::kF32;
  table.shape = {static_cast<std::int64_t>(width)};
  table.values = values.get();
  table.classes = labels ? classes : nullptr;
  table.targets = with_target && !labels ? y : nullptr;
  table.target_width = table.targets != nullptr ? 1 : 0;
  table.scale = static_cast<float>(spec.scale);
  table.shift = static_cast<float>(spec.shift);
  table.keep = keep_all({values, targets});
  return table;
}

Result<CsvFile> read_file(const std::filesystem::path& path, const job::Data& spec, job::Loss loss,
                          bool with_target) {
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(path));
  char* text = reinterpret_cast<char*>(bytes.memory.get());
  // Counted first: the scanner changes the text.
  const auto lines = static_cast<std::uint64_t>(std::count(text, text + bytes.size, '\n')) + 1;
  CsvScanner scanner(text, bytes.size, path.string());
  std::vector<std::string_view> fields;
  INSTEP_ASSIGN_OR_RETURN(bool more, scanner.next(fields));
  if (!more) return scanner.error("the file has no rows");
  INSTEP_ASSIGN_OR_RETURN(Layout layout, read_layout(scanner, fields, spec, with_target));
  if (spec.header) {
    INSTEP_ASSIGN_OR_RETURN(more, scanner.next(fields));
    if (!more) return scanner.error("there are no rows after the header");
  }
  // A whole row has at least a digit and a separator a column, which bounds the memory by the file.
  const std::uint64_t max_rows = std::min(lines, bytes.size / (2 * layout.columns) + 1);
  CsvFile out;
  INSTEP_ASSIGN_OR_RETURN(out.table, read_rows(scanner, fields, layout, max_rows, spec, loss));
  out.columns = std::move(layout.names);
  return out;
}

}  // namespace

Result<CsvFile> read_csv(const std::filesystem::path& path, const job::Data& spec, job::Loss loss) {
  return read_file(path, spec, loss, true);
}

Result<CsvFile> read_csv_features(const std::filesystem::path& path, const job::Data& spec) {
  return read_file(path, spec, job::Loss::kMse, false);
}

Result<Table> load_csv(const std::filesystem::path& file, const job::Data& spec, job::Loss loss) {
  INSTEP_ASSIGN_OR_RETURN(CsvFile read, read_csv(file, spec, loss));
  return std::move(read.table);
}

}  // namespace instep::data
