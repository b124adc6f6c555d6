#include "fabric/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace instep::fabric {
namespace {

std::vector<std::byte> bytes(std::size_t count, int value) {
  return std::vector<std::byte>(count, std::byte(value));
}

struct Got {
  FrameHead head;
  std::vector<std::byte> payload;
};

struct Stream {
  Stream()
      : reader({[this](const FrameHead& head) { return place(head); },
                [this](const FrameHead& head) { return took(head); }}) {}

  Result<std::span<std::byte>> place(const FrameHead& head) {
    placed.assign(head.size, std::byte(0));
    return std::span(placed);
  }
  Status took(const FrameHead& head) {
    frames.push_back({head, std::exchange(placed, {})});
    return {};
  }
  // In pieces of at most `most`.
  Status feed(std::span<const std::byte> data, std::size_t most) {
    while (!data.empty()) {
      const auto wanted = reader.wanted();
      const std::size_t count = std::min({most, wanted.size(), data.size()});
      std::memcpy(wanted.data(), data.data(), count);
      INSTEP_RETURN_IF_ERROR(reader.filled(count));
      data = data.subspan(count);
    }
    return {};
  }

  FrameReader reader;
  std::vector<std::byte> placed;
  std::vector<Got> frames;
};

// All that the box would send, and the sizes of its records.
std::vector<std::byte> drain(Outbox& box, std::vector<std::size_t>& sizes) {
  std::vector<std::byte> out;
  while (!box.empty()) {
    const auto record = box.next_record();
    sizes.push_back(record.size());
    out.insert(out.end(), record.begin(), record.end());
    box.took_record();
  }
  return out;
}

TEST(Frame, AHeadIsLittleEndian) {
  const auto out = encode({0x04030201, 0x08070605, 0x100f0e0d0c0b0a09, 0, 1});
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(std::to_integer<std::size_t>(out[i]), i + 1);
  EXPECT_EQ(std::to_integer<int>(out[24]), 1);
  EXPECT_EQ(decode_head(out), (FrameHead{0x04030201, 0x08070605, 0x100f0e0d0c0b0a09, 0, 1}));
}

TEST(Frame, WhatTheBoxSendsTheReaderReadsHoweverItIsCut) {
  const std::vector<std::size_t> payloads = {0, 1, 31, 16384, 16352, 16353, 100'000, 0, 7};
  for (const std::size_t most : {1, 5, 33, 16384, 1 << 20}) {
    Outbox box;
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      box.push({1, std::uint32_t(payloads[i]), i, 0, 0}, bytes(payloads[i], int(i)));
      box.push({}, {});  // pings are not told of by their payload
    }
    std::vector<std::size_t> sizes;
    const auto sent = drain(box, sizes);
    Stream stream;
    ASSERT_TRUE(stream.feed(sent, most).ok());
    ASSERT_EQ(stream.frames.size(), 2 * payloads.size());
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      EXPECT_EQ(stream.frames[2 * i].head.a, i);
      EXPECT_EQ(stream.frames[2 * i].payload, bytes(payloads[i], int(i)));
      EXPECT_EQ(stream.frames[2 * i + 1].head.kind, kPing);
    }
  }
}

TEST(Frame, AllRecordsButTheLastAreFull) {
  Outbox box;
  for (int i = 0; i < 5; ++i) box.push({1, 40'000, 0, 0, 0}, bytes(40'000, i));
  EXPECT_EQ(box.bytes(), 5 * 40'032U);
  std::vector<std::size_t> sizes;
  EXPECT_EQ(drain(box, sizes).size(), 5 * 40'032U);
  ASSERT_EQ(sizes.size(), 13U);
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_EQ(sizes[i], Outbox::kRecordBytes);
}

TEST(Frame, MemoryIsGivenBackInOrderWhenItsLastRecordIsTaken) {
  Outbox box;
  const auto memory = bytes(20'000, 1);
  std::string order;
  for (const char name : {'a', 'b'}) {
    box.push({1, 20'000, 0, 0, 0}, memory, [&order, name] { order += name; });
  }
  (void)box.next_record();
  box.took_record();
  EXPECT_EQ(order, "");
  (void)box.next_record();
  EXPECT_EQ(order, "");  // handed out, but not yet taken
  box.took_record();
  EXPECT_EQ(order, "a");
  (void)box.next_record();
  box.took_record();
  EXPECT_EQ(order, "ab");
  EXPECT_TRUE(box.empty());
}

TEST(Frame, WhoIsToldThatItWasSentMaySendMoreOrClear) {
  Outbox box;
  const auto memory = bytes(10, 1);
  int told = 0;
  for (int i = 0; i < 3; ++i) {
    box.push({1, 10, 0, 0, 0}, memory, [&] {
      if (++told == 1) box.push({2, 10, 0, 0, 0}, memory, nullptr);
      if (told == 2) box.clear();
    });
  }
  (void)box.next_record();
  box.took_record();
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(box.empty());
  EXPECT_TRUE(box.next_record().empty());
}

TEST(Frame, AHeadThatClaimsTooMuchIsRefusedBeforeMemoryIsAskedFor) {
  for (const std::uint32_t size : {kMaxPayload + 1, ~0U}) {
    Stream stream;
    const Status fed = stream.feed(encode({1, size, 0, 0, 0}), 64);
    ASSERT_FALSE(fed.ok());
    EXPECT_EQ(fed.error().kind, ErrorKind::kInvalid);
    EXPECT_TRUE(stream.placed.empty());
  }
  Stream stream;
  EXPECT_TRUE(stream.feed(encode({1, kMaxPayload, 0, 0, 0}), 64).ok());
}

TEST(Frame, APingHasNoPayload) {
  Stream stream;
  EXPECT_FALSE(stream.feed(encode({kPing, 1, 0, 0, 0}), 64).ok());
}

TEST(Frame, ALimitedStreamHasOneSmallFrame) {
  Stream large;
  large.reader.limit(1, 100);
  EXPECT_FALSE(large.feed(encode({1, 101, 0, 0, 0}), 64).ok());
  Stream many;
  many.reader.limit(1, 100);
  EXPECT_TRUE(many.feed(encode({kPing, 0, 0, 0, 0}), 64).ok());
  EXPECT_TRUE(many.feed(encode({1, 0, 0, 0, 0}), 64).ok());
  EXPECT_TRUE(many.feed(encode({kPing, 0, 0, 0, 0}), 64).ok());
  EXPECT_FALSE(many.feed(encode({1, 0, 0, 0, 0}), 64).ok());
}

}  // namespace
}  // namespace instep::fabric
