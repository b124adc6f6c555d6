#include "coord/arrivals.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/testing_folder.h"
#include "base/text.h"
#include "coord/host_frames.h"
#include "coord/job_files.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

wire::HostFile described(const std::string& key, const std::string& text) {
  return {key, text.size(), sha256_hex(text)};
}

class ArrivalsTest : public FolderTest {
 protected:
  Arrivals two_and_data() const {
    return {folder_, {described("model.file", "module"), described("model.init", "weights")}, true};
  }
  static fabric::FrameHead head(std::uint64_t goods, std::uint64_t at, std::uint64_t bytes,
                                std::size_t size) {
    return {kPieceFrame, static_cast<std::uint32_t>(size), at, bytes, goods};
  }
  // A piece of goods of so many bytes.
  static Status piece(Arrivals& arrivals, std::uint64_t goods, std::uint64_t at,
                      std::uint64_t bytes, const std::string& text) {
    const auto it = head(goods, at, bytes, text.size());
    INSTEP_ASSIGN_OR_RETURN(const auto place, arrivals.place(it));
    EXPECT_EQ(place.size(), text.size());
    std::memcpy(place.data(), text.data(), text.size());
    return arrivals.took(it);
  }
  static void wants(const Arrivals& arrivals, std::uint32_t goods, std::uint64_t from) {
    const auto it = arrivals.wants();
    ASSERT_TRUE(it);
    EXPECT_EQ(it->goods, goods);
    EXPECT_EQ(it->from, from);
  }
  // Whole files and others.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder_ / "files", none)) {
      out.push_back(entry.path().filename().string());
    }
    return out;
  }
};

TEST_F(ArrivalsTest, OneAfterTheOther) {
  Arrivals arrivals = two_and_data();
  wants(arrivals, 0, 0);
  EXPECT_TRUE(piece(arrivals, 0, 0, 6, "mod").ok());
  wants(arrivals, 0, 3);
  EXPECT_EQ(names(), std::vector<std::string>{"model.file.tmp"});
  EXPECT_TRUE(piece(arrivals, 0, 3, 6, "ule").ok());
  wants(arrivals, 1, 0);
  EXPECT_TRUE(piece(arrivals, 1, 0, 7, "weights").ok());
  wants(arrivals, 2, 0);
  EXPECT_TRUE(piece(arrivals, 2, 0, 8, "image").ok());
  wants(arrivals, 2, 5);
  EXPECT_TRUE(piece(arrivals, 2, 5, 8, "XYZ").ok());
  EXPECT_FALSE(arrivals.wants());
  const auto files =
      local_files(folder_, {described("model.file", "module"), described("model.init", "weights")});
  EXPECT_EQ(read_file(files.at("model.file"), 100).take(), "module");
  EXPECT_EQ(read_file(files.at("model.init"), 100).take(), "weights");
  const Fd image = arrivals.take_dataset();
  const auto map = fabric::Mapping::map(image, false);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(std::memcmp(map->data(), "imageXYZ", 8), 0);
  EXPECT_EQ(map->size(), 8U);
}

TEST_F(ArrivalsTest, WithNothingToComeAllIsHere) {
  EXPECT_FALSE(Arrivals(folder_, {}, false).wants());
  EXPECT_FALSE(fs::exists(folder_ / "files"));
}

// A piece that a broken link has cut is sent again.
TEST_F(ArrivalsTest, GoesOnWhereALinkBroke) {
  Arrivals arrivals = two_and_data();
  ASSERT_TRUE(piece(arrivals, 0, 0, 6, "mo").ok());
  const auto cut = arrivals.place(head(0, 2, 6, 3));
  ASSERT_TRUE(cut.ok());
  std::memset(cut->data(), 'x', 2);
  wants(arrivals, 0, 2);
  ASSERT_TRUE(piece(arrivals, 0, 2, 6, "dule").ok());
  wants(arrivals, 1, 0);
}

TEST_F(ArrivalsTest, OtherBytesThanPromisedAreNoFile) {
  Arrivals arrivals = two_and_data();
  const Status status = piece(arrivals, 0, 0, 6, "modulE");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kCorrupt);
  for (const std::string& part :
       {std::string("model.file"), sha256_hex("modulE"), sha256_hex("module")}) {
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(ArrivalsTest, WhatIsOutOfTurnIsRefused) {
  const auto refused = [this](const fabric::FrameHead& wrong) {
    Arrivals arrivals = two_and_data();
    EXPECT_TRUE(piece(arrivals, 0, 0, 6, "mo").ok());
    return !arrivals.place(wrong).ok();
  };
  EXPECT_FALSE(refused(head(0, 2, 6, 4)));
  EXPECT_TRUE(refused(head(0, 2, 6, 5)));  // more than there are
  EXPECT_TRUE(refused(head(0, 2, 7, 4)));  // of another size
  EXPECT_TRUE(refused(head(0, 3, 6, 1)));
  EXPECT_TRUE(refused(head(0, 0, 6, 2)));
  EXPECT_TRUE(refused(head(1, 0, 7, 7)));
  EXPECT_TRUE(refused(head(3, 0, 7, 7)));
  Arrivals none(folder_, {}, false);
  EXPECT_FALSE(none.place(head(0, 0, 6, 4)).ok());
}

// No place is asked for where there is no payload.
TEST_F(ArrivalsTest, AnEmptyPieceIsRefused) {
  Arrivals arrivals = two_and_data();
  EXPECT_FALSE(arrivals.took(head(0, 0, 6, 0)).ok());
  EXPECT_FALSE(arrivals.took(head(0, 0, 0, 0)).ok());
  EXPECT_FALSE(Arrivals(folder_, {}, false).took(head(0, 0, 0, 0)).ok());
}

TEST_F(ArrivalsTest, DataThatMemoryDoesNotHold) {
  Arrivals arrivals(folder_, {}, true);
  const auto place = arrivals.place(head(0, 0, std::uint64_t{1} << 60, 4));
  ASSERT_FALSE(place.ok());
  EXPECT_EQ(place.error().kind, ErrorKind::kNoMemory);
  ASSERT_TRUE(piece(arrivals, 0, 0, 8, "imag").ok());
  EXPECT_FALSE(arrivals.place(head(0, 4, 9, 4)).ok());
  EXPECT_FALSE(arrivals.place(head(0, 4, 8, 5)).ok());
}

}  // namespace
}  // namespace instep::coord
