#include "exchange_agent.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <thread>

#include "base/text.h"
#include "fabric/wait.h"

namespace instep::bench {

using reduce::kBlockElements;

namespace {

constexpr std::uint64_t kUnitElements = 32 * kBlockElements;  // as sync/owner_update.h
constexpr std::uint64_t kStreamed = 1 << 20;  // bytes of a result that is written around the cache
constexpr std::uint64_t kMailElements = 1024;

double now() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

// What is used much later is written around the cache, and what another core has written is fetched
// ahead of need.
void copy_streamed(float* to, const float* from, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; i += 16) {
    __builtin_prefetch(from + i + 512);
    _mm256_stream_ps(to + i, _mm256_load_ps(from + i));
    _mm256_stream_ps(to + i + 8, _mm256_load_ps(from + i + 8));
  }
}

std::span<std::byte> private_memory(std::uint64_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) fail("no memory");
  return {static_cast<std::byte*>(at), bytes};
}

}  // namespace

// The result is written where everybody reads it, and from there to `private_result` if there is
// one.
class Direct : public round::Update {
 public:
  Direct(float* result, std::vector<reduce::Range> units, bool streams)
      : result_(result), units_(std::move(units)), streams_(streams) {}
  float* target(std::size_t unit) override { return result_ + units_[unit].begin; }
  bool streams() const override { return streams_; }
  void apply(std::size_t unit, float /*factor*/) override {
    if (private_result == nullptr) return;
    const reduce::Range& range = units_[unit];
    copy_streamed(private_result + range.begin, result_ + range.begin, range.count);
  }
  void carry(std::size_t /*unit*/) override {}
  const float* standing(std::size_t unit) override { return result_ + units_[unit].begin; }

  float* private_result = nullptr;

 private:
  float* result_;
  std::vector<reduce::Range> units_;
  bool streams_;
};

Agent::Agent(std::uint32_t me, const Settings& settings, Fd control, Fd state, Fd page,
             std::vector<Fd> arenas)
    : me_(me), settings_(settings) {
  control_map_ = must(fabric::Mapping::map(control, true));
  state_map_ = must(fabric::Mapping::map(state, true));
  page_map_ = must(fabric::Mapping::map(page, true));
  page_ = reinterpret_cast<Page*>(page_map_.data());
  for (std::size_t slot = 0; slot < arenas.size(); ++slot) {
    maps_.push_back(must(fabric::Mapping::map(arenas[slot], slot == me)));
    arenas_.emplace_back(maps_.back().data(), maps_.back().size());
  }
  arena_ = std::make_unique<fabric::Arena>(std::span(maps_[me].data(), maps_[me].size()));
  (void)arena_->take(1);  // an offset of 0 means nothing
  const auto take = [this](std::uint64_t elements) {
    auto* at = static_cast<float*>(arena_->take(elements * sizeof(float)));
    std::memset(at, 0, elements * sizeof(float));
    return at;
  };
  // Every agent takes the same blocks in the same order, so the gradients lie at equal offsets.
  for (std::uint64_t& at : mail_) at = arena_->offset(take(kMailElements));
  gradient_ = take(settings.elements);
  for (float*& at : chunk_gradient_) at = take(settings.chunk);
  // Private memory begins as the arena does: an agent finds its own mail at the same offset in
  // both, and there its own gradient as it lies.
  const std::uint64_t first = mail_[1] / sizeof(float) + kMailElements;
  private_ = private_memory((first + 2 * settings.elements) * sizeof(float));
  private_gradient_ = reinterpret_cast<float*>(private_.data()) + first;
  private_result_ = private_gradient_ + settings.elements;
  result_ = reinterpret_cast<float*>(state_map_.data());
  chunk_result_[0] = result_ + settings.elements;
  chunk_result_[1] = chunk_result_[0] + settings.chunk;
  whole_ = line(settings.elements, result_, arenas_[me]);
  for (int i = 0; i < 2; ++i) chunk_[i] = line(settings.chunk, chunk_result_[i], private_);
  spins_ = settings.agents > std::thread::hardware_concurrency() ? 100 : 20000;  // as Engine
}

Agent::Line Agent::line(std::uint64_t elements, float* result, std::span<const std::byte> mine) {
  round::Setup setup;
  std::vector<member::AgentId> agents;
  for (std::uint32_t i = 0; i < settings_.agents; ++i) agents.push_back(static_cast<int>(i));
  setup.view = member::assign({1, 0}, 0, agents, settings_.agents, elements / kBlockElements,
                              member::Owners::kAll, 1);
  setup.me = static_cast<int>(me_);
  setup.shards = settings_.agents;
  setup.full_samples = 1;
  reduce::FlatSpace space;
  space.begin_group();
  setup.tensors = {space.add(elements)};
  space.finish();
  Line made;
  for (const member::Slice& slice : setup.view.slices) {
    if (slice.owner != setup.me) continue;
    setup.units = reduce::cut_units(space, slice.first_block, slice.blocks, kUnitElements);
    made.slice = {slice.first_block * kBlockElements, slice.blocks * kBlockElements};
  }
  setup.control = fabric::control_page(control_map_);
  setup.arenas = arenas_;
  setup.arenas[me_] = mine;
  made.update =
      std::make_unique<Direct>(result, setup.units, elements * sizeof(float) >= kStreamed);
  made.exchange = std::make_unique<round::Exchange>(std::move(setup));
  return made;
}

// `offset`: of the gradient in the arena, for the others; `my_offset`: in private memory, for me.
void Agent::publish(Line& line, std::uint64_t offset, std::uint64_t my_offset) {
  ++ticket_;
  const round::ShardRow row{me_, 1, 0.0, 0};
  const reduce::Node node{me_, 1};
  round::Part part;
  part.ticket = ticket_;
  part.rows = {&row, 1};
  part.nodes = {&node, 1};
  const std::uint64_t mail = mail_[ticket_ & 1];
  part.offsets = {&my_offset, 1};
  round::write_part(part, private_.data() + mail);
  part.offsets = {&offset, 1};
  round::write_part(part, maps_[me_].data() + mail);
  line.exchange->begin({ticket_, 0, mail, static_cast<int>(ticket_ & 1)}, {}, line.update.get());
  line.exchange->step();  // publishes
}

void Agent::finish(Line& line) {
  round::Exchange& exchange = *line.exchange;
  fabric::AgentWords& words = exchange.words(exchange.setup().me);
  while (true) {
    switch (exchange.step()) {
      case round::Exchange::Step::kAgain:
        break;
      case round::Exchange::Step::kWait:
        while (!fabric::wait_at_least(*exchange.awaited().word, exchange.awaited().ticket,
                                      words.waiting, {spins_, 20})) {
        }
        break;
      case round::Exchange::Step::kDone:
        return;
      case round::Exchange::Step::kStale:
      case round::Exchange::Step::kFailed:
        fail(exchange.error().message);
    }
  }
}

void Agent::barrier() {
  ++barriers_;
  Seat& mine = page_->seats[me_];
  fabric::publish(mine.arrived, barriers_);
  fabric::wake(mine.arrived);
  for (std::uint32_t i = 0; i < settings_.agents; ++i) {
    while (!fabric::wait_at_least(page_->seats[i].arrived, barriers_, mine.waiting, {spins_, 20})) {
    }
  }
}

void Agent::write_gradient(float* to, std::uint32_t round) const {
  const auto base = static_cast<float>(round * settings_.agents + me_);
  for (std::uint64_t i = 0; i < settings_.elements; ++i) {
    to[i] = base + static_cast<float>(static_cast<int>(i & 1023));
  }
}

void Agent::check(const float* result, std::uint32_t round) const {
  float base = 0;
  for (std::uint32_t i = 0; i < settings_.agents; ++i) {
    base += static_cast<float>(round * settings_.agents + i) / static_cast<float>(settings_.agents);
  }
  for (std::uint64_t i = 0; i < settings_.elements; ++i) {
    const float due = base + static_cast<float>(i & 1023);
    if (std::abs(result[i] - due) > 1e-3F) {
      fail(cat("element ", i, " is ", result[i], " and not ", due));
    }
  }
}

// The traffic alone: sums the agents' slices and streams the sum.
void Agent::bound() {
  const reduce::Range& slice = whole_.slice;
  const std::uint64_t offset = arena_->offset(gradient_);
  const float* from[fabric::kMaxSlots];
  for (std::uint32_t a = 0; a < settings_.agents; ++a) {
    from[a] = reinterpret_cast<const float*>(arenas_[a].data() + offset) + slice.begin;
  }
  float* to = result_ + slice.begin;
  if (settings_.agents == 2) {
    const float *a = from[0], *b = from[1];
    for (std::uint64_t i = 0; i < slice.count; i += 8) {
      _mm256_stream_ps(to + i, _mm256_add_ps(_mm256_load_ps(a + i), _mm256_load_ps(b + i)));
    }
  } else {
    for (std::uint64_t i = 0; i < slice.count; i += 8) {
      __m256 sum = _mm256_load_ps(from[0] + i);
      for (std::uint32_t a = 1; a < settings_.agents; ++a) {
        sum = _mm256_add_ps(sum, _mm256_load_ps(from[a] + i));
      }
      _mm256_stream_ps(to + i, sum);
    }
  }
  _mm_sfence();
}

// Two chunks are under way: while the others publish chunk k, what they made of the one before it
// is copied out and what they need of the one behind it in. Both lie in the other pair of buffers,
// which nobody touches before chunk k + 1 is published.
void Agent::ordinary() {
  const std::uint64_t chunk = settings_.chunk;
  const std::uint64_t chunks = settings_.elements / chunk;
  const reduce::Range mine = chunk_[0].slice;
  const auto others = [&](const auto& copy) {
    if (mine.begin > 0) copy(0, mine.begin);
    if (mine.end() < chunk) copy(mine.end(), chunk - mine.end());
  };
  const auto in = [&](std::uint64_t k) {
    others([&](std::uint64_t begin, std::uint64_t count) {
      std::memcpy(chunk_gradient_[k & 1] + begin, private_gradient_ + k * chunk + begin,
                  count * sizeof(float));
    });
  };
  const auto out = [&](std::uint64_t k) {
    others([&](std::uint64_t begin, std::uint64_t count) {
      copy_streamed(private_result_ + k * chunk + begin, chunk_result_[k & 1] + begin, count);
    });
  };
  const auto* const memory = reinterpret_cast<const float*>(private_.data());
  in(0);
  for (std::uint64_t k = 0; k < chunks; ++k) {
    Line& line = chunk_[k & 1];
    const float* gradient = private_gradient_ + k * chunk;
    line.update->private_result = private_result_ + k * chunk;
    publish(line, arena_->offset(chunk_gradient_[k & 1]),
            static_cast<std::uint64_t>(gradient - memory) * sizeof(float));
    if (k > 0) out(k - 1);
    if (k + 1 < chunks) in(k + 1);
    finish(line);
  }
  out(chunks - 1);
  _mm_sfence();
}

void Agent::run() {
  constexpr std::uint32_t kWarm = 3;
  for (std::uint32_t round = 0; round < settings_.rounds + kWarm; ++round) {
    for (int mode = 0; mode < kModes; ++mode) {
      if (!settings_.again || round == 0) {
        write_gradient(mode == kOrdinary ? private_gradient_ : gradient_, round);
      }
      barrier();
      const double start = now();
      if (mode == kArena) {
        const std::uint64_t offset = arena_->offset(gradient_);
        publish(whole_, offset, offset);
        finish(whole_);
      }
      if (mode == kOrdinary) ordinary();
      if (mode == kBound) bound();
      const double seconds = now() - start;
      if (round >= kWarm) page_->seats[me_].seconds[mode][round - kWarm] = seconds;
      barrier();
      if (round != kWarm) continue;
      const std::uint32_t written = settings_.again ? 0 : round;
      if (mode == kArena) check(result_, written);
      if (mode == kOrdinary) check(private_result_, written);
    }
  }
}

Agent::~Agent() = default;

}  // namespace instep::bench
