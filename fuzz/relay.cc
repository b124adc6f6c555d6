// What another host may send in a run's rounds: frames of a relay in any order, with any heads.
#include "round/relay.h"

#include <cstring>
#include <memory>
#include <new>

#include "input.h"

namespace instep {
namespace {

constexpr std::uint32_t kLineup = 5, kShards = 4;
// One slice of three chunks, the last one short, and two smaller ones. Chunks are small, so that an
// input takes little time.
constexpr std::uint64_t kChunk = 2048;
constexpr std::uint64_t kLarge = 2 * kChunk + 1024, kElements = kLarge + 2048, kArena = 1 << 18;
// Of a payload come from the input and are repeated: what decides anything is shorter, and a round
// of all that others send is an input of 16 KiB.
constexpr std::size_t kPayloadBytes = 256;

class Nobody : public round::Carrier {
 public:
  void send(std::uint32_t /*to*/, const round::RelayFrame& frame, fuzz::Bytes payload) override {
    INSTEP_CHECK(frame.bytes == payload.size(), "a frame says its length");
    fuzz::use(payload);
  }
};

// Numbers and bytes from the input; zeros behind its end.
class Source {
 public:
  explicit Source(fuzz::Bytes bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  std::uint32_t below(std::uint32_t bound) {
    std::uint32_t out = 0;
    for (int i = 0; i < 2 && !rest_.empty(); ++i, rest_ = rest_.subspan(1)) {
      out = out << 8 | static_cast<std::uint32_t>(rest_.front());
    }
    return out % bound;
  }
  void fill(std::span<std::byte> to) {
    const std::size_t whole = std::min(to.size(), kPayloadBytes);
    const std::size_t count = std::min(whole, rest_.size());
    if (count > 0) std::memcpy(to.data(), rest_.data(), count);
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(count), to.end(), std::byte{0});
    rest_ = rest_.subspan(count);
    for (std::size_t at = whole; at < to.size(); at += whole) {
      std::memcpy(&to[at], to.data(), std::min(whole, to.size() - at));
    }
  }

 private:
  fuzz::Bytes rest_;
};

round::Sums sums_of(std::uint32_t codec) {
  round::Sums sums;
  sums.shards = kShards;
  sums.elements = kElements;
  sums.tensors = {{0, 100}, {112, kLarge}, {kLarge + 1120, 16}};
  sums.targets = {{0, kShards}};
  sums.full_samples = 8;
  sums.carried = true;
  if (codec == 1) sums.coding = {reduce::Codec::kBf16, {{0, 2}, {2, 2}}, 0};
  if (codec == 2) sums.coding = {reduce::Codec::kInt8, {{0, 1}, {1, 1}, {2, 2}}, 0};
  return sums;
}

round::LocalPart my_part(const std::vector<float>& values, bool apart) {
  round::LocalPart part;
  part.nodes = {{0, 2}};
  part.sources = {values.data(), values.data(), nullptr};
  if (apart) {
    part.nodes = {{0, 1}, {1, 1}};
    part.sources = {values.data(), values.data(), nullptr, nullptr, values.data(), values.data()};
  }
  part.rows = {{0, 8, 0.5, 1}, {1, 8, 0.25, 2}};
  return part;
}

// The same while some of it is still computed.
round::LocalPart my_open_part(const std::vector<float>& values, bool apart, Source& source) {
  round::LocalPart part = my_part(values, apart);
  for (const float*& it : part.sources) {
    part.pending.push_back(static_cast<std::uint8_t>(source.below(2)));
    if (part.pending.back() != 0) it = nullptr;
  }
  return part;
}

std::uint32_t some_size(Source& source) {
  switch (source.below(4)) {
    case 0:
      return source.below(60'000);
    case 1:
      return source.below(256);
    case 2:
      return source.below(8) * 2048;
    default:
      return static_cast<std::uint32_t>(kChunk * (1 + source.below(4)));
  }
}

void receive(round::Relay& relay, Source& source) {
  const std::uint32_t from = source.below(4);
  round::RelayFrame frame;
  frame.kind = static_cast<round::RelayFrame::Kind>(16 + source.below(6));
  frame.bytes = some_size(source);
  frame.lineup = kLineup - 1 + source.below(3);
  frame.index = source.below(4);
  frame.round = relay.due() - 1 + source.below(4);
  frame.at = std::uint64_t{source.below(8)} * 1024 - source.below(2);
  const auto place = relay.place(from, frame);
  if (!place.ok()) return;
  INSTEP_CHECK(place->size() == frame.bytes, "a frame's payload has its place");
  source.fill(*place);
  (void)relay.took(from, frame);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Source source(fuzz::bytes_of(data, size));
  fabric::AgentWords words{};
  struct Free {
    void operator()(std::byte* at) const { ::operator delete[](at, std::align_val_t{4096}); }
  };
  const std::unique_ptr<std::byte, Free> arena(new (std::align_val_t{4096}) std::byte[kArena]());
  const std::uint32_t codec = source.below(3);
  auto world = round::World::make({arena.get(), kArena}, words, sums_of(codec));
  INSTEP_CHECK(world.ok(), "the arena holds the sums");
  Nobody nobody;
  round::RelaySetup setup{
      kLineup,
      0,
      7,
      {{0, {0, 1}, {0, kLarge}}, {1, {2}, {kLarge, 1024}}, {2, {3}, {kLarge + 1024, 1024}}},
      {},
      kChunk};
  if (source.below(2) == 1) setup.donor = 1;
  round::Relay relay(std::move(setup), *world, nobody);
  relay.start();
  const std::vector<float> values(kElements, 0.5F);
  while (!source.empty()) {
    const std::uint32_t what = source.below(8);
    if (what == 0 && !relay.behind() && !relay.under_way()) {
      (void)relay.begin(relay.due(), {my_part(values, codec == 2)}, 0);
    } else if (what == 1) {
      (void)relay.step();
    } else if (what == 2 && !relay.behind() && !relay.under_way()) {
      if (source.below(4) == 0) relay.close();
      (void)relay.open(relay.due(), {my_open_part(values, codec == 2, source)});
    } else {
      receive(relay, source);
    }
    if (const auto done = relay.completed()) {
      fuzz::use(world->sum(*done, 0), kElements * sizeof(float));
      world->publish(fabric::ticket(1, *done), *done);
    }
  }
  return 0;
}

}  // namespace instep
