#include "job/toml_reader.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "base/text.h"
#include "job/job.h"

namespace instep::job {
namespace {

// Each dot of a dotted key is one more table in another, and the library destroys them by
// recursion.
constexpr std::ptrdiff_t kMaxDots = 4096;

using Position = std::pair<std::uint32_t, std::uint32_t>;  // line, column

struct Placed {
  Position at;
  std::string key;
  Value value;
};

bool is_bare_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// A key that had to be quoted stays so, and is therefore never one of ours ("optimizer.lr" in
// quotes is one key with a dot in it).
std::string spelt(std::string_view key) {
  return is_bare_key(key) && key.size() <= 64 ? std::string(key) : in_quotes(key);
}

Value value_of(const toml::node& node) {
  if (const auto* truth = node.as_boolean()) return Value::of(truth->get());
  if (const auto* integer = node.as_integer()) return Value::of(integer->get());
  if (const auto* number = node.as_floating_point()) return Value::of(number->get());
  if (const auto* text = node.as_string()) return Value::of(text->get());
  if (node.is_table()) return Value::of(Value::Kind::kTable);
  if (const auto* array = node.as_array()) {
    Value list = Value::of(Value::Kind::kList);
    for (const toml::node& item : *array) list.items.push_back(value_of(item));
    return list;
  }
  return Value::of(Value::Kind::kOther);
}

// Walks tables by a list of work and not by recursion: dotted keys nest as deep as the text is
// long.
std::vector<Placed> flatten(const toml::node& root, const std::string& root_key, Position root_at) {
  struct Work {
    const toml::node* node;
    std::string key;
    Position at;
  };
  std::vector<Work> work = {{&root, root_key, root_at}};
  std::vector<Placed> out;
  constexpr std::size_t kMaxKeyBytes = 256;
  while (!work.empty()) {
    const Work item = std::move(work.back());
    work.pop_back();
    const auto* table = item.node->as_table();
    const auto* array = item.node->as_array();
    const bool tables =
        array != nullptr && !array->empty() && array->is_homogeneous(toml::node_type::table);
    const bool deep = item.key.size() > kMaxKeyBytes;
    if (table != nullptr && !table->empty() && !deep) {
      for (const auto& [key, child] : *table) {
        const auto& begin = key.source().begin;
        work.push_back({&child,
                        cat(item.key, item.key.empty() ? "" : ".", spelt(key.str())),
                        {begin.line, begin.column}});
      }
    } else if (tables && !deep) {
      // At the place of its key, so that it comes before what it holds.
      out.push_back({item.at, item.key, Value::of(Value::Kind::kTables)});
      for (std::size_t i = 0; i < array->size(); ++i) {
        const auto& begin = (*array)[i].source().begin;
        work.push_back({&(*array)[i], cat(item.key, "[", i, "]"),
                        std::max(item.at, Position(begin.line, begin.column))});
      }
    } else if (!item.key.empty()) {
      out.push_back({item.at, item.key, value_of(*item.node)});
    }
  }
  // What the walk reached last is of a lower level: at one place the outer key goes first.
  std::stable_sort(out.begin(), out.end(), [](const Placed& a, const Placed& b) {
    return std::tuple(a.at, a.key.size()) < std::tuple(b.at, b.key.size());
  });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Bare keys with dots between them, each perhaps with an index.
bool is_set_key(std::string_view key) {
  while (true) {
    const auto dot = key.find('.');
    std::string_view part = key.substr(0, dot);
    if (const auto open = part.find('['); open != std::string_view::npos) {
      const std::string_view index = part.substr(open + 1);
      if (index.size() < 2 || index.size() > 4 || index.back() != ']') return false;
      if (index.find_first_not_of("0123456789") != index.size() - 1) return false;
      part = part.substr(0, open);
    }
    if (!is_bare_key(part)) return false;
    if (dot == std::string_view::npos) return true;
    key.remove_prefix(dot + 1);
  }
}

}  // namespace

Result<std::vector<Entry>> read_toml(std::string_view text, const std::string& name,
                                     const std::filesystem::path& folder) {
  if (text.size() > kMaxJobBytes) {
    return invalid(
        cat(name, ": found ", text.size(), " bytes; a job file has at most ", kMaxJobBytes));
  }
  const auto dots = std::count(text.begin(), text.end(), '.');
  if (dots > kMaxDots) {
    return invalid(cat(name, ": found ", dots, " dots; a job file has at most ", kMaxDots));
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return invalid(cat(name, ":", parsed.error().source().begin.line,
                       ": not TOML: ", parsed.error().description()));
  }
  std::vector<Entry> entries;
  for (Placed& placed : flatten(parsed.table(), "", {0, 0})) {
    entries.push_back({std::move(placed.key), cat(name, ":", placed.at.first),
                       std::move(placed.value), "", folder});
  }
  return entries;
}

Result<std::vector<Entry>> read_set(std::string_view set, const std::string& where,
                                    const std::filesystem::path& folder) {
  const auto equals = set.find('=');
  const std::string key(trimmed(set.substr(0, equals)));
  if (equals == std::string_view::npos || set.size() > kMaxTextBytes || !is_set_key(key)) {
    return invalid(cat(where, ": found ", in_quotes(set),
                       "; allowed: key=value with a dotted key, as optimizer.lr=0.01"));
  }
  const std::string_view value = trimmed(set.substr(equals + 1));
  const bool typed = !value.empty() && std::string_view("\"'[{").find(value[0]) != value.npos;
  const bool one_line = value.find_first_of("\r\n") == std::string_view::npos;
  const toml::parse_result parsed = toml::parse(one_line ? cat("v = ", value) : "");
  const toml::node* node = parsed ? parsed.table().get("v") : nullptr;
  if (node == nullptr && typed) {
    return invalid(cat(where, ": ", key, ": found ", in_quotes(value), "; not TOML: ",
                       one_line ? parsed.error().description() : "more than one line"));
  }
  const std::string bare = typed ? "" : std::string(value);
  if (node == nullptr) return std::vector<Entry>{{key, where, Value::of(bare), bare, folder}};
  std::vector<Entry> entries;
  for (Placed& placed : flatten(*node, key, {0, 0})) {
    entries.push_back({std::move(placed.key), where, std::move(placed.value), bare, folder});
  }
  return entries;
}

}  // namespace instep::job
