#include <fstream>
#include <iterator>

#include "data/readers.h"
#include "data/test_arrays.h"

namespace instep::data {
namespace {

class Npz : public ::testing::Test {
 protected:
  std::string write(const std::map<std::string, std::string>& files, bool deflated = true) {
    return npz((folder_.path() / "data.npz").string(), files, deflated);
  }
  std::string write_usual(bool deflated = true) {
    return write({{"x.npy", npy("<f4", "(40, 3)", std::string(480, '\1'))},
                  {"y.npy", npy("<i8", "(40,)", std::string(320, '\0'))}},
                 deflated);
  }
  static std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Result<Table> load_bytes(const std::string& bytes) {
    return load_npz(folder_.write("bad.npz", bytes), "x", "y");
  }
  TestFolder folder_;
};

TEST_F(Npz, StoredAndDeflated) {
  for (const bool deflated : {true, false}) {
    const auto table = load_npz(write_usual(deflated), "x", "y");
    ASSERT_TRUE(table.ok()) << message(table);
    EXPECT_EQ(table->size, 40u);
    EXPECT_EQ(table->shape, std::vector<std::int64_t>{3});
    EXPECT_EQ(table->kind, Kind::kF32);
    EXPECT_EQ(table->class_count, 1);
  }
}

TEST_F(Npz, MissingKeysNameThoseThere) {
  EXPECT_ERROR(load_npz(write_usual(), "images", "y"), "data.npz has no array 'images'",
               "it has 'x', 'y'", "data.samples_key");
  EXPECT_ERROR(load_npz(write_usual(), "x", "Y"), "no array 'Y'");
  EXPECT_ERROR(load_npz(write_usual(), "", "y"), "no array ''");
  std::map<std::string, std::string> many;
  for (int i = 0; i < 25; ++i) many["array" + std::to_string(i) + ".npy"] = "content";
  EXPECT_ERROR(load_npz(write(many), "x", "y"), "'array0'", "and 15 more");
}

TEST_F(Npz, ArraysAreNamedInErrors) {
  EXPECT_ERROR(load_npz(write({{"x.npy", npy("|O", "(3,)", "pickle")},
                               {"y.npy", npy("<i8", "(3,)", std::string(24, '\0'))}}),
                        "x", "y"),
               "data.npz, array 'x', holds pickled");
  EXPECT_ERROR(load_npz(write({{"x.npy", npy("|u1", "(3,)", "abc")}, {"y.npy", ""}}), "x", "y"),
               "array 'y', is empty");
  EXPECT_ERROR(
      load_npz(write({{"x.npy", npy("|u1", "(3,)", "abc")}, {"y.npy", "no array"}}), "x", "y"),
      "array 'y', is no NPY file");
}

TEST_F(Npz, OtherFilesAreNone) {
  EXPECT_ERROR(load_bytes("PK and no more"), "bad.npz is no whole NPZ archive");
  EXPECT_ERROR(load_bytes(npy("|u1", "(3,)", "abc")), "bad.npz is no NPZ archive");
  EXPECT_ERROR(load_npz(folder_.path(), "x", "y"), "not a regular file");
  EXPECT_ERROR(load_npz(folder_.path() / "missing.npz", "x", "y"), "missing.npz", "No such file");
}

TEST_F(Npz, EachTruncationIsAnError) {
  const std::string whole = content(write_usual());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    ASSERT_FALSE(load_bytes(whole.substr(0, size)).ok()) << size;
  }
}

// Times and attributes apart, each bit counts (every seventh is tried); none makes it read outside
// or take memory.
TEST_F(Npz, DamagedArchivesAreRefusedOrTheSame) {
  for (const bool deflated : {true, false}) {
    const std::string whole = content(write_usual(deflated));
    int refused = 0;
    for (std::size_t bit = 0; bit < whole.size() * 8; bit += 7) {
      std::string bad = whole;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      const auto table = load_bytes(bad);
      refused += table.ok() ? 0 : 1;
      if (!table.ok()) continue;
      ASSERT_EQ(table->size, 40u) << bit;
      ASSERT_EQ(std::to_integer<int>(table->values[479]), 1) << bit;
      ASSERT_EQ(table->classes[39], 0) << bit;
    }
    EXPECT_GT(refused, static_cast<int>(whole.size()) * 4 / 7);
  }
}

// Where the archive's directory says what an entry unpacks to.
void claim_size(std::string& archive, std::uint32_t bytes) {
  const std::size_t entry = archive.find("PK\1\2");
  ASSERT_NE(entry, std::string::npos);
  for (int byte = 0; byte < 4; ++byte) {
    archive[entry + 24 + static_cast<std::size_t>(byte)] = static_cast<char>(bytes >> (8 * byte));
  }
}

TEST_F(Npz, SizesThatAreClaimedTakeNoMemory) {
  for (const bool deflated : {true, false}) {
    std::string bad = content(write_usual(deflated));
    claim_size(bad, 0xfffffff0);
    EXPECT_ERROR(load_bytes(bad), "array 'x',", "claims 4294967280 bytes", "at most");
  }
  std::string shorter = content(write_usual());
  claim_size(shorter, 500);
  EXPECT_ERROR(load_bytes(shorter), "array 'x',", "damaged");
  std::string longer = content(write_usual());
  claim_size(longer, 700);
  EXPECT_ERROR(load_bytes(longer), "array 'x',", "damaged");
}

}  // namespace
}  // namespace instep::data
