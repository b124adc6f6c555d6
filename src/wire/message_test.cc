#include "wire/message.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "wire/archive.h"

namespace instep::wire {
namespace {

using Json = nlohmann::json;

std::vector<Message> samples() {
  Hello hello;
  hello.agent = 3;
  hello.pid = 4'000'000'000LL;
  hello.fingerprint = {{"build", "abc"}, {"cpu", ""}};
  Welcome welcome;
  welcome.slots = 64;
  welcome.has_dataset = true;
  welcome.has_world = true;
  welcome.joining = true;
  welcome.mode = "train";
  welcome.job_json = "{}";
  welcome.job_toml = "a = \"\xff\xfe\"";  // not UTF-8: a job file may hold anything
  welcome.job_name = "job.toml";
  welcome.job_folder = "/somewhere";
  welcome.sets = {"a=1", ""};
  welcome.run_dir = "runs/x";
  welcome.checkpoint = "c";
  welcome.predict_input = "i";
  welcome.files = {{"model.init", "/r/x"}};
  Ready ready{"{}",  "h",       8,          ~0ULL, "servers", 2,      17,  "s",
              false, {0, 1024}, {7, ~0ULL}, 8,     9,         {1, 2}, {3}, true};
  ViewMessage view{~0U, 1, ~0ULL, 7, -1, {0, 1}, {2}, {1}, {0, 0, 1}, {0, 5}, {5, 6}, {0, 1}};
  return {hello,
          welcome,
          ready,
          view,
          Progress{"epoch", "{}"},
          Done{"{}"},
          Failed{-2, "no"},
          StopRequest{"interrupt"},
          Propose{5, kWithdrawn},
          Promise{5, true, false, 41},
          Leaving{},
          Parcel{{std::byte{0}, std::byte{255}}}};
}

std::span<const std::byte> body(const std::vector<std::byte>& frame) {
  return std::span(frame).subspan(4);
}

std::vector<std::byte> cbor(const Json& json) {
  std::vector<std::byte> out;
  for (const std::uint8_t byte : Json::to_cbor(json)) out.push_back(std::byte(byte));
  return out;
}

TEST(Message, EveryKindSurvivesTheWay) {
  const std::vector<Message> all = samples();
  ASSERT_EQ(all.size(), std::variant_size_v<Message>);
  for (const Message& message : all) {
    const std::vector<std::byte> frame = encode(message);
    const Result<std::size_t> length = frame_length(std::span(frame).first<4>());
    ASSERT_TRUE(length.ok());
    EXPECT_EQ(*length, frame.size() - 4);
    Result<Message> back = decode(body(frame));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(back->index(), message.index());
    EXPECT_EQ(encode(*back), frame);
  }
  const Result<Message> back = decode(body(encode(all[3])));
  const auto& view = std::get<ViewMessage>(*back);
  EXPECT_EQ(view.first_op, ~0ULL);
  EXPECT_EQ(view.enters_at, 7U);
  EXPECT_EQ(view.donor, -1);
  EXPECT_EQ(view.joined, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(view.shard_agent, (std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_EQ(std::get<Failed>(*decode(body(encode(all[6])))).kind, -2);
  EXPECT_TRUE(std::get<Welcome>(*decode(body(encode(all[1])))).joining);
  EXPECT_TRUE(std::get<Welcome>(*decode(body(encode(all[1])))).has_world);
  EXPECT_EQ(std::get<Welcome>(*decode(body(encode(all[1])))).files.at("model.init"), "/r/x");
  const auto ready = std::get<Ready>(*decode(body(encode(all[2]))));
  EXPECT_FALSE(ready.joinable);
  EXPECT_EQ(ready.tensor_begin, (std::vector<std::uint64_t>{0, 1024}));
  EXPECT_EQ(ready.tensor_count, (std::vector<std::uint64_t>{7, ~0ULL}));
  EXPECT_EQ(ready.checks_at_even, 8U);
  EXPECT_EQ(ready.checks_at_odd, 9U);
  EXPECT_EQ(ready.state_at_even, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(ready.state_at_odd, (std::vector<std::uint64_t>{3}));
  EXPECT_TRUE(ready.carried);
  EXPECT_EQ(std::get<Propose>(*decode(body(encode(all[8])))).round, kWithdrawn);
  const auto promise = std::get<Promise>(*decode(body(encode(all[9]))));
  EXPECT_TRUE(promise.kept);
  EXPECT_FALSE(promise.over);
  EXPECT_EQ(promise.round, 41U);
}

TEST(Message, RefusesALengthAboveTheLimit) {
  const std::array<std::byte, 4> huge = {std::byte{1}, std::byte{0}, std::byte{0x40}, std::byte{0}};
  EXPECT_FALSE(frame_length(huge).ok());
  const std::array<std::byte, 4> most = {std::byte{0}, std::byte{0}, std::byte{0x40}, std::byte{0}};
  EXPECT_EQ(*frame_length(most), kMaxFrameBytes);
}

TEST(Message, NamesTheFieldThatIsWrong) {
  const Json good = Json::from_cbor(std::vector<std::uint8_t>([] {
    std::vector<std::uint8_t> bytes;
    const std::vector<std::byte> frame = encode(samples()[2]);
    for (const std::byte byte : body(frame)) bytes.push_back(std::uint8_t(byte));
    return bytes;
  }()));
  EXPECT_TRUE(decode(cbor(good)).ok());
  const auto with = [&good](const char* key, const Json& value) {
    Json changed = good;
    changed[key] = value;
    const Result<Message> read = decode(cbor(changed));
    return read.ok() ? std::string() : read.error().message;
  };
  EXPECT_NE(with("shards", -1).find("'shards'"), std::string::npos);
  EXPECT_NE(with("shards", 1ULL << 32).find("'shards'"), std::string::npos);
  EXPECT_NE(with("shards", 1.5).find("'shards'"), std::string::npos);
  EXPECT_NE(with("job_hash", 7).find("'job_hash'"), std::string::npos);
  EXPECT_NE(with("job_hash", Json::array()).find("'job_hash'"), std::string::npos);
  EXPECT_NE(with("type", "other").find("unknown type"), std::string::npos);
  EXPECT_NE(with("type", 1).find("no type"), std::string::npos);
  Json without = good;
  without.erase("blocks");
  EXPECT_NE(decode(cbor(without)).error().message.find("'blocks' is missing"), std::string::npos);
  EXPECT_FALSE(decode(cbor(Json::array({1, 2}))).ok());
  EXPECT_FALSE(decode({}).ok());
}

// A frame of 0x81 bytes is an array in an array in an array…: the parser recursed until the stack
// was full.
TEST(Message, DeepNestingIsRefusedAndNotFollowed) {
  const std::vector<std::byte> deep(kMaxFrameBytes, std::byte{0x81});
  EXPECT_FALSE(decode(deep).ok());
}

// A launcher that took in such a message ran out of stack: strings in pieces are read by a call for
// each piece that is in pieces itself.
TEST(Message, StringsInPiecesAreRefused) {
  std::vector<std::byte> bytes = to_cbor({{"type", 1}});
  ASSERT_TRUE(from_cbor(bytes, 1).ok());
  for (const std::byte pieces : {std::byte{0x7f}, std::byte{0x5f}}) {
    bytes.back() = pieces;
    bytes.resize(kMaxFrameBytes, pieces);
    EXPECT_FALSE(from_cbor(bytes, 1).ok());
    EXPECT_FALSE(decode(bytes).ok());
  }
}

TEST(Message, NumbersAndNothingComeBackAsTheyWere) {
  const Json value = {{"none", nullptr},
                      {"flags", {true, false}},
                      {"integers", {0, 23, 24, 1 << 20, ~0ULL, -1, -25, INT64_MIN}},
                      {"floats", {0.5, 1e300, -0.0, std::numeric_limits<double>::infinity()}},
                      {"bytes", Json::binary({1, 2, 3})},
                      {"text", std::string(300, 'x')},
                      {"empty", {Json::array(), Json::object(), ""}}};
  const auto bytes = to_cbor(value);
  const auto read = from_cbor(bytes, 3);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, value);
  EXPECT_FALSE(from_cbor(bytes, 2).ok());
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(from_cbor(std::span(bytes).first(cut), 3).ok()) << cut;
  }
}

TEST(Message, DamagedFramesNeverCrash) {
  Random random(7);
  const std::vector<Message> all = samples();
  for (int i = 0; i < 20'000; ++i) {
    const std::vector<std::byte> frame = encode(all[random.below(all.size())]);
    std::vector<std::byte> damaged(frame.begin() + 4, frame.end());
    if (random.below(4) == 0) damaged.resize(random.below(damaged.size()));
    for (std::uint64_t hits = random.below(4); hits > 0 && !damaged.empty(); --hits) {
      damaged[random.below(damaged.size())] = std::byte(random.below(256));
    }
    (void)decode(damaged).ok();
  }
}

TEST(Message, ClaimedLengthsDoNotAllocate) {
  // A map whose one value claims to be an array of 2^60 items.
  std::vector<std::byte> bytes = {std::byte{0xa1}, std::byte{0x61}, std::byte{'x'}, std::byte{0x9b},
                                  std::byte{0x10}};
  bytes.resize(12);
  EXPECT_FALSE(decode(bytes).ok());
}

}  // namespace
}  // namespace instep::wire
