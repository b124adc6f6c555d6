#include "store/safetensors_header.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/text.h"

namespace instep::store {
namespace {

constexpr std::size_t kMaxRank = 64;  // torch's own limit
constexpr std::uint64_t kMaxExtent = std::numeric_limits<std::int64_t>::max();

Error corrupt(std::string message) { return {ErrorKind::kCorrupt, std::move(message)}; }

// A name out of a file nobody vouches for, fit for a message.
std::string shown(std::string_view name) {
  constexpr std::size_t kMost = 80;
  std::string out = "'";
  for (const char c : name.substr(0, kMost)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return out + (name.size() > kMost ? "…'" : "'");
}

// The deepest that is legal is {name: {field: [number]}}; each value is refused where it has no
// place.
class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header header;
  std::string error;

  bool null() override { return misplaced("null"); }
  bool boolean(bool) override { return misplaced("a boolean"); }
  bool number_integer(number_integer_t) override { return misplaced("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return misplaced("a fraction or a number past 2^64");
  }
  bool binary(binary_t&) override { return misplaced("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kArray) return misplaced("a number");
    if (value > kMaxExtent) return fail(cat("has a number past 2^63: ", value));
    std::vector<std::uint64_t>& numbers = field_ == Field::kShape ? shape_ : offsets_;
    const std::size_t most = field_ == Field::kShape ? kMaxRank : 2;
    if (numbers.size() == most) return fail(cat("has more than ", most, " numbers in one list"));
    numbers.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      if (!header.metadata.emplace(std::move(key_), std::move(value)).second) {
        return fail("has a key twice");
      }
      return true;
    }
    if (place_ != Place::kEntry || field_ != Field::kDtype) return misplaced("a text");
    dtype_ = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kNames;
    } else if (place_ == Place::kNames) {
      place_ = name_ == kMetadataName ? Place::kMetadata : Place::kEntry;
      seen_ = 0;
      shape_.clear();
      offsets_.clear();
    } else {
      return misplaced("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::kNames) {
      name_ = std::move(value);
      if (!names_.insert(name_).second) return fail("is there twice");
    } else if (place_ == Place::kMetadata) {
      key_ = std::move(value);
    } else {
      field_ = value == "dtype"          ? Field::kDtype
               : value == "shape"        ? Field::kShape
               : value == "data_offsets" ? Field::kOffsets
                                         : Field::kNone;
      if (field_ == Field::kNone) return fail(cat("has an unknown field ", shown(value)));
      const unsigned bit = 1u << static_cast<unsigned>(field_);
      if ((seen_ & bit) != 0) return fail(cat("has the field ", shown(value), " twice"));
      seen_ |= bit;
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kEntry) {
      if (seen_ != 0b111 || offsets_.size() != 2) {
        return fail("lacks its dtype, its shape or its two data_offsets");
      }
      if (offsets_[0] > offsets_[1]) {
        return fail(cat("begins at ", offsets_[0], ", after its end at ", offsets_[1]));
      }
      TensorInfo& tensor = header.tensors.emplace_back();
      tensor.name = name_;
      tensor.dtype = dtype_;
      tensor.shape.assign(shape_.begin(), shape_.end());
      tensor.offset = offsets_[0];
      tensor.bytes = offsets_[1] - offsets_[0];
    }
    place_ = place_ == Place::kNames ? Place::kOutside : Place::kNames;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kEntry || field_ == Field::kDtype) return misplaced("a list");
    place_ = Place::kArray;
    return true;
  }
  bool end_array() override {
    place_ = Place::kEntry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    error = cat("its header is no JSON at byte ", kLengthBytes + position);
    return false;
  }

 private:
  enum class Place { kOutside, kNames, kMetadata, kEntry, kArray };
  enum class Field { kDtype, kShape, kOffsets, kNone };

  bool fail(std::string_view what) {
    error = name_ == kMetadataName ? cat("its ", kMetadataName, " ", what)
                                   : cat("tensor ", shown(name_), " ", what);
    return false;
  }
  bool misplaced(std::string_view what) {
    return fail(cat("has ", what, " where the format has none"));
  }

  Place place_ = Place::kOutside;
  Field field_ = Field::kNone;
  unsigned seen_ = 0;  // bits of Field
  std::string name_, key_, dtype_;
  std::vector<std::uint64_t> shape_, offsets_;
  std::unordered_set<std::string> names_;
};

// The tensors must tile the data section: the reference implementation demands it, and so no byte
// of a file is without meaning.
Status check_tiling(const std::vector<TensorInfo>& tensors, std::uint64_t data_bytes) {
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (!dtype_bytes(tensor.dtype)) {
      return invalid(cat("tensor ", shown(tensor.name), " has the dtype ", shown(tensor.dtype),
                         ", which instep does not know"));
    }
    const std::optional<std::uint64_t> bytes = tensor_bytes(tensor.dtype, tensor.shape);
    if (!bytes) return corrupt(cat("tensor ", shown(tensor.name), " has a shape past 2^63 bytes"));
    if (*bytes != tensor.bytes) {
      return corrupt(cat("tensor ", shown(tensor.name), " has ", tensor.bytes,
                         " bytes, but its shape and dtype need ", *bytes));
    }
    if (tensor.offset != end) {
      return corrupt(cat("tensor ", shown(tensor.name), " begins at data byte ", tensor.offset,
                         tensor.offset < end ? ", inside the one before it, which ends at "
                                             : ", after a hole from ",
                         end));
    }
    end += tensor.bytes;
    if (end > data_bytes) {
      return corrupt(cat("tensor ", shown(tensor.name), " ends at data byte ", end, ", but only ",
                         data_bytes, " are there; was the file cut short?"));
    }
  }
  if (end != data_bytes) {
    return corrupt(cat("its tensors end at data byte ", end, ", but ", data_bytes, " are there"));
  }
  return {};
}

}  // namespace

Result<Header> parse_header(std::string_view json, std::uint64_t data_bytes) {
  if (json.empty() || json.front() != '{') return corrupt("its header does not begin with '{'");
  Reader reader;
  try {
    if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
      return corrupt(std::move(reader.error));
    }
  } catch (const std::bad_alloc&) {
    return Error{ErrorKind::kNoMemory, "there is no memory for its header"};
  } catch (const std::exception&) {
    return corrupt("its header is no JSON");
  }
  std::vector<TensorInfo>& tensors = reader.header.tensors;
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  INSTEP_RETURN_IF_ERROR(check_tiling(tensors, data_bytes));
  return std::move(reader.header);
}

}  // namespace instep::store
