#include "wire/message.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>

#include "base/text.h"

namespace instep::wire {
namespace {

using Json = nlohmann::json;

// The field lists: one for each message, walked by the writer and by the reader alike.
template <class Archive, class M>
void fields(Archive& archive, M& m) {
  using Type = std::remove_const_t<M>;
  if constexpr (std::is_same_v<Type, Hello>) {
    archive("protocol", m.protocol);
    archive("agent", m.agent);
    archive("pid", m.pid);
    archive("fingerprint", m.fingerprint);
  } else if constexpr (std::is_same_v<Type, Welcome>) {
    archive("slots", m.slots);
    archive("processors", m.processors);
    archive("has_dataset", m.has_dataset);
    archive("joining", m.joining);
    archive("mode", m.mode);
    archive("job_json", m.job_json);
    archive("job_toml", m.job_toml);
    archive("job_name", m.job_name);
    archive("job_folder", m.job_folder);
    archive("sets", m.sets);
    archive("run_dir", m.run_dir);
    archive("checkpoint", m.checkpoint);
    archive("predict_input", m.predict_input);
  } else if constexpr (std::is_same_v<Type, Ready>) {
    archive("job_json", m.job_json);
    archive("job_hash", m.job_hash);
    archive("shards", m.shards);
    archive("blocks", m.blocks);
    archive("owners", m.owners);
    archive("servers", m.servers);
    archive("first_round", m.first_round);
    archive("state_hash", m.state_hash);
    archive("joinable", m.joinable);
  } else if constexpr (std::is_same_v<Type, ViewMessage>) {
    archive("generation", m.generation);
    archive("number", m.number);
    archive("first_op", m.first_op);
    archive("enters_at", m.enters_at);
    archive("donor", m.donor);
    archive("members", m.members);
    archive("spares", m.spares);
    archive("joined", m.joined);
    archive("shard_agent", m.shard_agent);
    archive("slice_first_block", m.slice_first_block);
    archive("slice_blocks", m.slice_blocks);
    archive("slice_owner", m.slice_owner);
  } else if constexpr (std::is_same_v<Type, Progress>) {
    archive("kind", m.kind);
    archive("fields", m.fields);
  } else if constexpr (std::is_same_v<Type, Done>) {
    archive("report", m.report);
  } else if constexpr (std::is_same_v<Type, Failed>) {
    archive("kind", m.kind);
    archive("message", m.message);
  } else if constexpr (std::is_same_v<Type, StopRequest>) {
    archive("reason", m.reason);
  } else if constexpr (std::is_same_v<Type, Propose>) {
    archive("number", m.number);
    archive("round", m.round);
  } else if constexpr (std::is_same_v<Type, Promise>) {
    archive("number", m.number);
    archive("kept", m.kept);
    archive("over", m.over);
    archive("round", m.round);
  } else {
    static_assert(std::is_same_v<Type, Leaving>);
  }
}

constexpr const char* kTypeKey = "type";
// In the order of Message's alternatives.
constexpr std::array<std::string_view, std::variant_size_v<Message>> kNames = {
    "hello",  "welcome", "ready",   "view",    "progress", "done",
    "failed", "stop",    "propose", "promise", "leaving"};

class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    out[key] = value;
  }
  Json out = Json::object();
};

class Reader {
 public:
  Reader(const Json& in, std::string_view type) : in_(in), type_(type) {}

  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = in_.find(key);
    if (found == in_.end()) return fail(key, "is missing");
    if (!read(*found, value)) fail(key, "has a wrong type or is out of range");
  }
  Status status() const { return status_; }

 private:
  void fail(const char* key, const char* what) {
    if (status_.ok()) status_ = invalid(cat("malformed ", type_, " message: '", key, "' ", what));
  }
  static bool read(const Json& in, std::string& value) {
    if (!in.is_string()) return false;
    value = in.get_ref<const std::string&>();
    return true;
  }
  static bool read(const Json& in, bool& value) {
    if (!in.is_boolean()) return false;
    value = in.get<bool>();
    return true;
  }
  template <class T>
  requires std::is_integral_v<T>
  static bool read(const Json& in, T& value) {
    if (in.is_number_unsigned()) {
      const auto wide = in.get<std::uint64_t>();
      if (wide > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
      value = static_cast<T>(wide);
      return true;
    }
    if (!in.is_number_integer() || std::is_unsigned_v<T>) return false;
    const auto wide = in.get<std::int64_t>();
    if (wide < static_cast<std::int64_t>(std::numeric_limits<T>::min())) return false;
    value = static_cast<T>(wide);  // negative, or it would have been unsigned
    return true;
  }
  template <class T>
  static bool read(const Json& in, std::vector<T>& values) {
    if (!in.is_array()) return false;
    values.clear();
    values.reserve(in.size());
    for (const Json& item : in) {
      if (!read(item, values.emplace_back())) return false;
    }
    return true;
  }
  static bool read(const Json& in, std::map<std::string, std::string>& values) {
    if (!in.is_object()) return false;
    values.clear();
    for (const auto& item : in.items()) {
      if (!read(item.value(), values[item.key()])) return false;
    }
    return true;
  }

  const Json& in_;
  std::string_view type_;
  Status status_;
};

// Refuses deep nesting before the recursive parser can exhaust the stack on it, and byte strings,
// which no message has.
class ShapeCheck : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return false; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ <= kMaxDepth; }
  bool start_array(std::size_t) override { return ++depth_ <= kMaxDepth; }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  static constexpr int kMaxDepth = 2;  // the message and its lists or maps
  int depth_ = 0;
};

template <std::size_t kIndex = 0>
Result<Message> read_as(std::string_view type, const Json& in) {
  if constexpr (kIndex == kNames.size()) {
    return invalid("malformed message: unknown type");
  } else {
    if (type != kNames[kIndex]) return read_as<kIndex + 1>(type, in);
    std::variant_alternative_t<kIndex, Message> message;
    Reader reader(in, type);
    fields(reader, message);
    INSTEP_RETURN_IF_ERROR(reader.status());
    return Message(std::move(message));
  }
}

}  // namespace

std::vector<std::byte> encode(const Message& message) {
  Writer writer;
  writer.out[kTypeKey] = std::string(kNames[message.index()]);
  std::visit([&writer](const auto& m) { fields(writer, m); }, message);
  std::vector<std::uint8_t> frame(4);
  Json::to_cbor(writer.out, frame);
  const std::size_t length = frame.size() - 4;
  for (int i = 0; i < 4; ++i) frame[std::size_t(i)] = static_cast<std::uint8_t>(length >> (8 * i));
  const auto bytes = std::as_bytes(std::span(frame));
  return {bytes.begin(), bytes.end()};
}

Result<std::size_t> frame_length(std::span<const std::byte, 4> prefix) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length |= static_cast<std::size_t>(prefix[i]) << (8 * i);
  if (length > kMaxFrameBytes) {
    return invalid(
        cat("a message of ", length, " bytes; at most ", kMaxFrameBytes, " are allowed"));
  }
  return length;
}

Result<Message> decode(std::span<const std::byte> body) {
  if (body.size() > kMaxFrameBytes) return invalid("malformed message: too long");
  const auto* begin = reinterpret_cast<const std::uint8_t*>(body.data());
  const auto* end = begin + body.size();
  ShapeCheck shape;
  if (!Json::sax_parse(begin, end, &shape, Json::input_format_t::cbor)) {
    return invalid("malformed message: not the CBOR of a message");
  }
  const Json in = Json::from_cbor(begin, end, true, false);
  if (!in.is_object()) return invalid("malformed message: not a map");
  const auto type = in.find(kTypeKey);
  if (type == in.end() || !type->is_string()) return invalid("malformed message: it has no type");
  return read_as(type->get_ref<const std::string&>(), in);
}

}  // namespace instep::wire
