#include "job/apply.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/text.h"
#include "job/keys.h"

namespace instep::job {
namespace {

// "optimizer.group[3].lr" is looked up as "optimizer.group[].lr", group 3.
struct Name {
  std::string pattern;
  std::size_t group = 0;
  bool indexed = false;
};

Name name_of(const std::string& key) {
  const auto open = key.find('[');
  const auto close = key.find(']');
  if (open == std::string::npos || close == std::string::npos || close <= open + 1) return {key};
  std::size_t group = 0;
  for (std::size_t i = open + 1; i < close; ++i) {
    if (key[i] < '0' || key[i] > '9') return {key};
    group = std::min<std::size_t>(group * 10 + static_cast<std::size_t>(key[i] - '0'), kMaxGroups);
  }
  return {key.substr(0, open + 1) + key.substr(close), group, true};
}

std::string_view last_part(std::string_view key) {
  const auto dot = key.rfind('.');
  return dot == std::string_view::npos ? key : key.substr(dot + 1);
}

std::string_view folder_part(std::string_view key) {
  const auto dot = key.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : key.substr(0, dot);
}

// The same word in another table first (the usual slip: a key below the wrong [table]), then a near
// word in the same table, then a near key anywhere.
std::string suggestion(const std::string& key) {
  std::vector<std::string> beside;
  for (const std::string& known : key_names()) {
    if (last_part(known) == last_part(key) && last_part(key) != "kind") return known;
    if (folder_part(known) == folder_part(key)) beside.emplace_back(last_part(known));
  }
  const std::string near = nearest(last_part(key), beside);
  if (near.empty()) return nearest(key, key_names());
  return cat(folder_part(key), folder_part(key).empty() ? "" : ".", near);
}

Error at(const Entry& entry, std::string_view message) {
  return invalid(cat(entry.where, ": ", message));
}

Error unknown(const Entry& entry, const std::string& pattern) {
  const std::string near = suggestion(pattern);
  if (near.empty())
    return at(entry, cat("unknown key ", entry.key, "; docs/job.md lists the keys"));
  const bool lifted = near.find('.') == std::string::npos && pattern.find('.') != std::string::npos;
  return at(entry, cat("unknown key ", entry.key, "; did you mean ", near,
                       lifted ? ", which stands above the first [table]?" : "?"));
}

bool is_table(std::string_view key) {
  for (const Key& known : keys()) {
    if (known.name.size() > key.size() && known.name.substr(0, key.size()) == key &&
        known.name[key.size()] == '.') {
      return true;
    }
  }
  return false;
}

Error not_a_table(const Entry& entry) {
  std::string hint;
  for (const std::string_view word : {"kind", "strategy", "format"}) {
    const std::string key = cat(entry.key, ".", word);
    if (find_key(key) != nullptr && entry.value.kind == Value::Kind::kText) {
      hint = cat("; did you mean ", key, "?");
    }
  }
  return at(entry, cat(entry.key, ": found ", describe(entry.value), "; allowed: a table [",
                       entry.key, "]", hint));
}

// What can be taken for what was due: a set's bare word for a text, digits for a column's number, a
// relative path for the absolute one.
Value coerced(const Key& key, const Entry& entry) {
  Value value = entry.value;
  if (key.limits.or_integer && !holds_text(key) && value.kind == Value::Kind::kInteger) {
    Value list = Value::of(Value::Kind::kList);
    list.items.push_back(value);
    return list;
  }
  if (key.limits.or_text && value.kind == Value::Kind::kText) {
    Value list = Value::of(Value::Kind::kList);
    list.items.push_back(value);
    return list;
  }
  if (!holds_text(key)) return value;
  if (!entry.bare.empty()) value = Value::of(entry.bare);
  if (key.limits.or_integer && value.kind == Value::Kind::kInteger) {
    value = Value::of(cat(value.integer));
  }
  const bool path = key.limits.text == Limits::Text::kPath && value.kind == Value::Kind::kText;
  if (path && !value.text.empty() && !entry.folder.empty()) {
    value.text = (entry.folder / value.text).lexically_normal().string();
  }
  return value;
}

Error does_not_fit(const Key& key, const Entry& entry, const Value& value) {
  std::string near;
  if (value.kind == Value::Kind::kText) {
    const Words words = words_for(key);
    near = nearest(value.text, {words.begin(), words.end()});
  }
  return at(entry, cat(entry.key, ": found ", describe(value), "; allowed: ", allowed_text(key),
                       near.empty() ? "" : cat("; did you mean ", near, "?")));
}

Status apply_one(const Entry& entry, Job& job) {
  auto& groups = job.optimizer.groups;
  const auto kind = entry.value.kind;
  const bool empty_list = kind == Value::Kind::kList && entry.value.items.empty();
  if (entry.key == kGroupKey && (kind == Value::Kind::kTables || empty_list)) {
    groups.clear();
    return {};
  }
  const Name name = name_of(entry.key);
  if (entry.key == kGroupKey || entry.key.rfind(cat(kGroupKey, "."), 0) == 0) {
    return at(entry,
              cat(kGroupKey, ": found ", entry.key == kGroupKey ? describe(entry.value) : "a table",
                  "; allowed: a list of tables, each under [[", kGroupKey, "]]"));
  }
  const bool group = name.indexed && name.pattern.rfind(cat(kGroupKey, "[]"), 0) == 0;
  if (group && name.group >= kMaxGroups) {
    return at(entry, cat(kGroupKey, ": allowed: at most ", kMaxGroups, " groups"));
  }
  if (group && name.group >= groups.size()) groups.resize(name.group + 1);
  const Key* key = find_key(name.pattern);
  if (key == nullptr && is_table(name.pattern)) {
    if (kind == Value::Kind::kTable) return {};  // a header with nothing below it
    return not_a_table(entry);
  }
  if (key == nullptr) return unknown(entry, name.pattern);
  const Value value = coerced(*key, entry);
  if (!fits(*key, value)) return does_not_fit(*key, entry, value);
  store(key->at(job, name.group), value);
  return {};
}

void note(const Entry& entry, std::vector<Given>& given) {
  const auto gone = [&](const Given& earlier) {
    return earlier.key == entry.key ||
           (entry.key == kGroupKey && earlier.key.rfind(cat(kGroupKey, "["), 0) == 0);
  };
  given.erase(std::remove_if(given.begin(), given.end(), gone), given.end());
  const auto kind = entry.value.kind;
  if (kind != Value::Kind::kTable && kind != Value::Kind::kTables) {
    given.push_back({entry.key, entry.where});
  }
}

}  // namespace

Status apply(const std::vector<Entry>& entries, Job& job, std::vector<Given>& given) {
  // A file of another version may hold keys that are unknown here; its version is the clearer
  // error.
  for (const Entry& entry : entries) {
    if (entry.key == "version") INSTEP_RETURN_IF_ERROR(apply_one(entry, job));
  }
  for (const Entry& entry : entries) {
    INSTEP_RETURN_IF_ERROR(apply_one(entry, job));
    note(entry, given);
  }
  return {};
}

}  // namespace instep::job
