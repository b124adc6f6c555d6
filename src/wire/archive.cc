#include "wire/archive.h"

namespace instep::wire {
namespace {

using Json = nlohmann::json;

class ShapeCheck : public nlohmann::json_sax<Json> {
 public:
  explicit ShapeCheck(int depth) : left_(depth) {}
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return --left_ >= 0; }
  bool start_array(std::size_t) override { return --left_ >= 0; }
  bool end_object() override { return ++left_, true; }
  bool end_array() override { return ++left_, true; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  int left_;
};

}  // namespace

std::vector<std::byte> to_cbor(const Json& value) {
  const std::vector<std::uint8_t> out = Json::to_cbor(value);
  const auto bytes = std::as_bytes(std::span(out));
  return {bytes.begin(), bytes.end()};
}

Result<Json> from_cbor(std::span<const std::byte> bytes, int depth) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto* end = begin + bytes.size();
  ShapeCheck shape(depth);
  if (!Json::sax_parse(begin, end, &shape, Json::input_format_t::cbor)) {
    return invalid("malformed message: not CBOR of the expected shape");
  }
  Json out = Json::from_cbor(begin, end, true, false);
  if (!out.is_object()) return invalid("malformed message: not a map");
  return out;
}

}  // namespace instep::wire
