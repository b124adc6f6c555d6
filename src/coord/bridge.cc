#include "coord/bridge.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>

#include "base/text.h"
#include "round/seat.h"

namespace instep::coord {

Result<std::unique_ptr<Bridge>> Bridge::make(fabric::Loop& loop, Plan plan) {
  std::unique_ptr<Bridge> bridge(new Bridge(loop, std::move(plan)));
  bridge->wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bridge->wake_.valid()) return os_error("make", "an event descriptor", errno);
  return bridge;
}

Bridge::Bridge(fabric::Loop& loop, Plan plan)
    : loop_(loop),
      plan_(std::move(plan)),
      peers_(loop, plan_.identity, plan_.host, plan_.compression, *this),
      empty_(plan_.late) {}

Bridge::~Bridge() { watch_.reset(); }

void Bridge::say(BridgeNews news) {
  {
    const std::lock_guard lock(mutex_);
    news_.push_back(std::move(news));
  }
  const std::uint64_t one = 1;
  // It fails when it is readable already.
  if (::write(wake_.get(), &one, sizeof one) < 0) return;
}

std::vector<BridgeNews> Bridge::take() {
  std::uint64_t count = 0;
  if (::read(wake_.get(), &count, sizeof count) < 0) return {};
  const std::lock_guard lock(mutex_);
  return std::exchange(news_, {});
}

void Bridge::fail(Error error) {
  if (std::exchange(over_, true)) return;
  say(BridgeFailed{std::move(error)});
}

Status Bridge::use(const fabric::HostFiles& files) {
  INSTEP_ASSIGN_OR_RETURN(control_, fabric::Mapping::map(files.control, true));
  INSTEP_ASSIGN_OR_RETURN(state_, fabric::Mapping::map(files.state, plan_.late));
  INSTEP_ASSIGN_OR_RETURN(world_map_, fabric::Mapping::map(files.world, true));
  for (const Fd& arena : files.arenas) {
    INSTEP_ASSIGN_OR_RETURN(fabric::Mapping map, fabric::Mapping::map(arena, false));
    arenas_.push_back(std::move(map));
  }
  watch_.emplace(fabric::control_page(control_), [this](fabric::Ticket ticket) {
    loop_.post([this, ticket] { hear_of_parts(ticket); });
  });
  return {};
}

void Bridge::ready(const wire::Ready& ready,
                   const std::map<std::string, std::string>& fingerprint) {
  loop_.post([this, ready, fingerprint] {
    ready_ = ready;
    plan_.tell_hub(wire::HostReady{ready.job_hash, ready.state_hash, ready.shards, ready.blocks,
                                   ready.first_round, fingerprint});
  });
}

void Bridge::done() {
  loop_.post([this] {
    done_ = true;
    plan_.tell_hub(wire::HostDone{});
  });
}

void Bridge::leave() {
  loop_.post([this] {
    over_ = true;
    plan_.tell_hub(wire::HostLeaves{});
  });
}

void Bridge::stop() {
  loop_.post([this] { plan_.tell_hub(wire::HostStops{}); });
}

void Bridge::fence() {
  std::promise<void> reached;
  loop_.post([this, &reached] {
    while (relay_ && !relay_->read_all() && relay_->step()) {
    }
    after_progress();
    reached.set_value();
  });
  reached.get_future().wait();
}

void Bridge::hear(const wire::HostMessage& message) {
  if (const auto* begin_now = std::get_if<wire::HostsBegin>(&message)) {
    begin(*begin_now);
  } else if (const auto* lineup = std::get_if<wire::HostsLineup>(&message)) {
    auto read = member::from_message(*lineup);
    read.ok() ? line_up(read.take()) : fail(read.error());
  } else if (const auto* now = std::get_if<wire::HostsGo>(&message)) {
    go(now->number);
  } else if (const auto* stop = std::get_if<wire::HostsHalt>(&message)) {
    halt(*stop);
  } else if (const auto* ask = std::get_if<wire::HostsAsk>(&message)) {
    say_what_it_lacks(ask->number);
  } else if (const auto* wait = std::get_if<wire::HostsWait>(&message)) {
    say(HostsAreMissing{wait->agents, wait->least, wait->limit_ms});
  } else if (const auto* up = std::get_if<wire::HostsGiveUp>(&message)) {
    say(GaveUp{up->why});
  } else if (std::holds_alternative<wire::HostsEnd>(message)) {
    over_ = true;
    say(AllDone{});
  } else if (const auto* failed = std::get_if<wire::Failed>(&message)) {
    fail(wire::error_of(*failed));
  } else {
    fail({ErrorKind::kCorrupt, "the coordinator says what only hosts may say"});
  }
}

void Bridge::begin(const wire::HostsBegin& begin) {
  if (begin.ids.size() != begin.addresses.size()) {
    return fail({ErrorKind::kCorrupt, "the coordinator's list of hosts does not hold together"});
  }
  for (std::size_t i = 0; i < begin.ids.size(); ++i) {
    if (i < begin.names.size()) names_[begin.ids[i]] = begin.names[i];
    if (begin.ids[i] == plan_.host) continue;
    if (begin.ids[i] == member::kFirstHost && plan_.first_host) {
      peers_.know(member::kFirstHost, *plan_.first_host);
      continue;
    }
    const auto address = fabric::parse_address(begin.addresses[i], 0);
    if (!address.ok()) return fail(address.error());
    peers_.know(begin.ids[i], *address);
  }
}

// Nothing is sent or taken in until the next line-up.
void Bridge::halt(const wire::HostsHalt& halt) {
  if (over_ || halt.number <= halted_) return;
  halted_ = halt.number;
  went_ = false;
  for (const std::uint32_t lost : halt.lost) {
    peers_.cut(lost);
    arriving_.erase(lost);
  }
  relay_.reset();
  taker_.reset();
  wanted_ = 0;
  if (watch_) watch_->want({}, 0);
  const std::uint64_t first = ready_.first_round;
  plan_.tell_hub(wire::HostStands{halt.number, world_ ? world_->done(first) : first, empty_});
  // Again: it may have been lost with a link.
  if (done_) plan_.tell_hub(wire::HostDone{});
}

// Top-k's sums are encoded by their owners, who have what was kept back of them.
round::Sums Bridge::sums() const {
  round::Sums sums;
  sums.shards = ready_.shards;
  sums.elements = ready_.blocks * reduce::kBlockElements;
  for (std::size_t t = 0; t < ready_.tensor_begin.size(); ++t) {
    sums.tensors.push_back({ready_.tensor_begin[t], ready_.tensor_count[t]});
  }
  sums.targets = {{0, ready_.shards}};
  sums.full_samples = plan_.full_samples;
  sums.carried = ready_.carried;
  if (plan_.coding.packs()) {
    sums.coding = plan_.coding;
  } else if (plan_.coding.codec == reduce::Codec::kTopK) {
    sums.targets = plan_.coding.nodes;
  }
  return sums;
}

void Bridge::line_up(member::Lineup lineup) {
  if (over_ || lineup.number < halted_ || (lineup_ && lineup.number <= lineup_->number)) return;
  const Status status = member::validate(lineup, ready_.shards, ready_.blocks);
  if (!status.ok()) return fail(status.error());
  const member::HostPart* me = member::part_of(lineup, plan_.host);
  if (me == nullptr) {
    return fail({ErrorKind::kUnavailable, "the run goes on without this host"});
  }
  if (!world_) {
    auto world = round::World::make({world_map_.data(), world_map_.size()},
                                    fabric::control_page(control_)->agents[fabric::kWorld], sums());
    if (!world.ok()) return fail(world.error());
    world_.emplace(world.take());
  }
  mine_ = me->shards;
  halted_ = lineup.number;
  went_ = said_took_ = given_ = false;
  round::RelaySetup setup{lineup.number, plan_.host, lineup.first_round, {}, lineup.donor};
  if (empty_) {
    if (const Status taking = take_from(lineup); !taking.ok()) return fail(taking.error());
    setup.donor.reset();  // what the state is made of is no sum of this host's
  } else if (world_->done(ready_.first_round) >= lineup.first_round) {
    setup.donor.reset();  // it is for newcomers: before a run's first round there are no sums
  }
  for (const member::HostPart& part : lineup.hosts) {
    setup.hosts.push_back(
        {part.host,
         part.shards,
         {part.first_block * reduce::kBlockElements, part.blocks * reduce::kBlockElements}});
  }
  lineup_ = std::move(lineup);
  relay_ = std::make_shared<round::Relay>(std::move(setup), *world_,
                                          static_cast<round::Carrier&>(*this));
  keeper_ = relay_;
  peers_.forget_waiting();  // nobody takes what is of an earlier one
  stale_view_ = gives() && !views_.empty() ? views_.back().epoch.number : 0;
  if (gives()) world_->forget();
  // A view may have come meanwhile.
  offer(lineup_->first_round - 1);
  offer(lineup_->first_round);
  say(Adopt{mine_, lineup_->first_round, gives(), static_cast<std::uint32_t>(lineup_->hosts.size()),
            member::agents_of(*lineup_)});
  took_if_connected();
}

bool Bridge::gives() const { return !lineup_->newcomers.empty() && lineup_->donor == plan_.host; }

Status Bridge::take_from(const member::Lineup& lineup) {
  const auto& newcomers = lineup.newcomers;
  if (std::find(newcomers.begin(), newcomers.end(), plan_.host) == newcomers.end()) {
    return Error{ErrorKind::kUnavailable, "nobody gives this host the state of the run"};
  }
  const std::span<std::byte> state(state_.data(), state_.size());
  INSTEP_ASSIGN_OR_RETURN(auto parts, round::state_parts(ready_, lineup.first_round, state.size()));
  taker_ = std::make_shared<round::StateTaker>(lineup.number, lineup.first_round, state,
                                               std::move(parts));
  return {};
}

std::vector<std::uint32_t> Bridge::lacks() const {
  return member::lacked_peers(*lineup_, plan_.host,
                              [this](std::uint32_t it) { return peers_.is_up(it); });
}

void Bridge::took_if_connected() {
  if (!lineup_ || said_took_ || alone_ || !lacks().empty()) return;
  said_took_ = true;
  plan_.tell_hub(wire::HostTook{lineup_->number});
}

void Bridge::say_what_it_lacks(std::uint32_t number) {
  if (over_ || alone_ || !lineup_ || number != lineup_->number) return;
  plan_.tell_hub(wire::HostLacks{number, lacks()});
}

void Bridge::go(std::uint32_t number) {
  if (over_ || !lineup_ || number != lineup_->number || number < halted_ || !relay_) return;
  went_ = true;
  relay_->start();
  watch_lines();
  look_for_parts();
}

// Everything by itself, without a word from anybody.
void Bridge::lose_hub(const std::string& why) {
  if (done_) return say(AllDone{});
  if (over_ || alone_) return;
  if (!lineup_ || empty_) return fail({ErrorKind::kUnavailable, why});
  alone_ = true;
  peers_.cut_all();
  arriving_.clear();
  say(Orphaned{why});
  const std::uint32_t number = std::max(halted_, lineup_->number) + 1;
  const std::uint32_t agents = member::part_of(*lineup_, plan_.host)->agents;
  line_up(member::assign_hosts(number, world_->done(ready_.first_round), {{plan_.host, agents}},
                               ready_.shards, ready_.blocks));
  go(number);
}

}  // namespace instep::coord
