#include "store/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "base/testing_folder.h"
#include "base/text.h"

namespace instep::store {
namespace {

std::string header_of(const std::string& json, std::uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i)
    out += static_cast<char>(static_cast<unsigned char>(length >> (8 * i)));
  return out + json;
}

class SafetensorsTest : public ::testing::Test {
 protected:
  Result<SafetensorsFile> open(const std::string& content) {
    const auto path = folder_.path() / "x.safetensors";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    return SafetensorsFile::open(path);
  }
  Result<SafetensorsFile> open(const std::string& json, const std::string& data) {
    return open(header_of(json, json.size()) + data);
  }
  void expect_error(const std::string& json, const std::string& data, const std::string& part) {
    const Result<SafetensorsFile> file = open(json, data);
    ASSERT_FALSE(file.ok()) << json;
    EXPECT_NE(file.error().message.find(part), std::string::npos) << file.error().message;
    EXPECT_NE(file.error().message.find("x.safetensors"), std::string::npos);
  }
  TestFolder folder_;
};

// A file as SafetensorsLayout plans it, tensor i filled with bytes of value i + 1.
std::string content_of(const SafetensorsLayout& layout) {
  std::string content = layout.header();
  content.resize(layout.file_bytes());
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorInfo& tensor = layout.tensors()[i];
    std::memset(content.data() + tensor.offset, static_cast<int>(i + 1), tensor.bytes);
  }
  return content;
}

SafetensorsLayout small_layout() {
  return SafetensorsLayout({{.name = "mask", .dtype = "U8", .shape = {3}},
                            {.name = "fc.weight \"é\n", .dtype = "F32", .shape = {2, 3}},
                            {.name = "steps", .dtype = "I64", .shape = {}},
                            {.name = "empty", .dtype = "F32", .shape = {0, 7}}},
                           {{"format", "pt"}, {"round", "12"}});
}

TEST_F(SafetensorsTest, RoundTrip) {
  const SafetensorsLayout layout = small_layout();
  const Result<SafetensorsFile> file = open(content_of(layout));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"round", "12"}}));
  ASSERT_EQ(file->tensors().size(), 4u);
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorInfo& planned = layout.tensors()[i];
    const TensorInfo* found = file->find(planned.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->dtype, planned.dtype);
    EXPECT_EQ(found->shape, planned.shape);
    EXPECT_EQ(found->offset, planned.offset);
    ASSERT_EQ(file->bytes(*found).size(), planned.bytes);
    for (const std::byte byte : file->bytes(*found)) EXPECT_EQ(byte, std::byte(i + 1));
  }
  EXPECT_EQ(file->find("bias"), nullptr);
}

TEST_F(SafetensorsTest, KeepsBytesAfterTheFileObjectMoved) {
  Result<SafetensorsFile> file = open(content_of(small_layout()));
  ASSERT_TRUE(file.ok());
  const SafetensorsFile moved = file.take();
  EXPECT_EQ(moved.bytes(*moved.find("mask"))[2], std::byte(1));
}

// Torch's loader views a slice of the file as its dtype, which fails off the element's own
// alignment.
TEST_F(SafetensorsTest, EveryTensorIsAlignedAndTheDataBeginsOn64Bytes) {
  for (std::size_t name_length = 1; name_length < 130; ++name_length) {
    const SafetensorsLayout layout(
        {{.name = std::string(name_length, 'a'), .dtype = "U8", .shape = {5}},
         {.name = "b_", .dtype = "F16", .shape = {3}},
         {.name = "c_", .dtype = "I64", .shape = {1}}},
        {});
    EXPECT_EQ(layout.header().size() % 64, 0u);
    EXPECT_EQ(layout.tensors()[2].offset, layout.header().size());
    EXPECT_EQ(layout.tensors()[1].offset, layout.header().size() + 8);
    EXPECT_EQ(layout.tensors()[0].offset, layout.header().size() + 14);
    EXPECT_EQ(layout.file_bytes(), layout.header().size() + 19);
  }
}

TEST_F(SafetensorsTest, NoTensors) {
  const SafetensorsLayout layout({}, {});
  const Result<SafetensorsFile> file = open(layout.header());
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_TRUE(file->tensors().empty());
}

TEST_F(SafetensorsTest, RefusesWhatIsNoFile) {
  EXPECT_EQ(SafetensorsFile::open(folder_.path() / "absent").error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(SafetensorsFile::open(folder_.path()).error().kind, ErrorKind::kInvalid);
  const auto pipe = folder_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::open(pipe).error().kind, ErrorKind::kInvalid);
}

TEST_F(SafetensorsTest, RefusesBadLengths) {
  EXPECT_EQ(open("").error().kind, ErrorKind::kCorrupt);
  EXPECT_EQ(open("1234567").error().kind, ErrorKind::kCorrupt);
  EXPECT_NE(open(header_of("{}", 3)).error().message.find("cut short"), std::string::npos);
  EXPECT_NE(open(header_of("{}", ~0ull)).error().message.find("at most 100000000"),
            std::string::npos);
  EXPECT_NE(open(header_of("{}", 100'000'001)).error().message.find("at most"), std::string::npos);
  EXPECT_FALSE(open(header_of("", 0)).ok());
}

TEST_F(SafetensorsTest, RefusesEveryKindOfBadHeader) {
  const std::string u8 = R"("dtype":"U8","shape":[2])";
  expect_error("[]", "", "does not begin with '{'");
  expect_error(" {}", "", "does not begin with '{'");
  expect_error("{", "", "no JSON at byte");
  expect_error("{} x", "", "no JSON at byte");
  expect_error("{\"\xff\":{}}", "", "no JSON at byte");
  expect_error(
      R"({"w":{)" + u8 + R"(,"data_offsets":[0,2]},"w":{)" + u8 + R"(,"data_offsets":[2,4]}})",
      "abcd", "tensor 'w' is there twice");
  expect_error(R"({"__metadata__":{"a":"1","a":"2"}})", "", "has a key twice");
  expect_error(R"({"__metadata__":{"a":1}})", "", "its __metadata__ has a number");
  expect_error(R"({"w":3})", "", "tensor 'w' has a number");
  expect_error(R"({"w":{"dtype":"U8","shape":[2]}})", "ab", "lacks its dtype");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[0]}})", "ab", "lacks its dtype");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[0,1,2]}})", "ab", "more than 2 numbers");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[2,0]}})", "ab", "after its end");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[0,2],"x":1}})", "ab", "unknown field 'x'");
  expect_error(R"({"w":{)" + u8 + R"(,"shape":[2],"data_offsets":[0,2]}})", "ab", "'shape' twice");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[0,2]}})", "a", "cut short");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[0,2]}})", "abc", "but 3 are there");
  expect_error(R"({"w":{)" + u8 + R"(,"data_offsets":[1,3]}})", "abc", "after a hole");
  expect_error(
      R"({"v":{)" + u8 + R"(,"data_offsets":[0,2]},"w":{)" + u8 + R"(,"data_offsets":[1,3]}})",
      "abc", "tensor 'w' begins at data byte 1, inside");
  expect_error(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}})", "ab", "dtype need 3");
  expect_error(R"({"w":{"dtype":"F99","shape":[2],"data_offsets":[0,2]}})", "ab", "'F99', which");
  expect_error(R"({"w":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})", "ab", "a negative");
  expect_error(R"({"w":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}})", "ab", "a fraction");
  expect_error(R"({"w":{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}})", "ab", "has a list");
  expect_error(R"({"w":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,2]}})", "ab",
               "past 2^63");
  // 2^32 * 2^32 elements wrap to nothing in 64 bits.
  expect_error(R"({"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "",
               "past 2^63");
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  expect_error(R"({"w":{"dtype":"U8","shape":[)" + ones + R"(],"data_offsets":[0,1]}})", "a",
               "more than 64 numbers");
}

TEST_F(SafetensorsTest, DeepNestingIsAnErrorAndNoStackOverflow) {
  const std::string deep(1'000'000, '[');
  expect_error(R"({"w":{"dtype":"U8","shape":)" + deep, "", "has a list");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  expect_error(objects, "", "unknown field");
}

TEST_F(SafetensorsTest, AHugeNameIsNotRepeatedInTheMessage) {
  const std::string json = "{\"" + std::string(1'000'000, 'n') + "\":3}";
  EXPECT_LT(open(json, "").error().message.size(), 1000u);
}

// Whatever the bytes: an error or a parse whose every tensor lies inside the file.
void expect_sound(const Result<SafetensorsFile>& file, std::uint64_t size) {
  if (!file.ok()) {
    EXPECT_FALSE(file.error().message.empty());
    return;
  }
  for (const TensorInfo& tensor : file->tensors()) {
    ASSERT_LE(tensor.offset + tensor.bytes, size);
    ASSERT_EQ(file->bytes(tensor).size(), tensor.bytes);
  }
}

TEST_F(SafetensorsTest, EveryByteFlippedAnyWay) {
  const std::string whole = content_of(small_layout());
  for (std::size_t i = 0; i < small_layout().header().size(); ++i) {
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
      std::string broken = whole;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      expect_sound(open(broken), broken.size());
    }
  }
}

TEST_F(SafetensorsTest, CutAtEveryLength) {
  const std::string whole = content_of(small_layout());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(open(whole.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(open(whole + "x").ok());
}

TEST(TensorBytes, RefusesOverflowAndUnknown) {
  EXPECT_EQ(tensor_bytes("F32", {2, 3}), 24u);
  EXPECT_EQ(tensor_bytes("I64", {}), 8u);
  EXPECT_EQ(tensor_bytes("F32", {-1}), std::nullopt);
  EXPECT_EQ(tensor_bytes("F99", {1}), std::nullopt);
  EXPECT_EQ(tensor_bytes("F64", {std::int64_t{1} << 60}), std::nullopt);
  EXPECT_EQ(tensor_bytes("F32", {std::int64_t{1} << 40, std::int64_t{1} << 40}), std::nullopt);
}

}  // namespace
}  // namespace instep::store
