#include "bridge.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "host.h"
#include "round/seat.h"

namespace instep::sim {

using reduce::kBlockElements;

Bridge::Bridge(Loop& loop, Network& net, const Job& job, Memory& memory, Plan plan)
    : loop_(loop),
      job_(job),
      memory_(memory),
      plan_(std::move(plan)),
      peers_(loop, net, plan_.host, plan_.plant, *this),
      watch_(loop, memory, [this](fabric::Ticket ticket) { hear_of_parts(ticket); }),
      empty_(plan_.late) {}

void Bridge::say(BridgeNews news) {
  news_.push_back(std::move(news));
  plan_.news();
}

void Bridge::fail(Error error) {
  if (std::exchange(over_, true)) return;
  say(BridgeFailed{std::move(error)});
}

void Bridge::ready() {
  loop_.post([this] {
    plan_.tell_hub(wire::HostReady{"job", "state", job_.shards, job_.space.blocks(), 0, {}});
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
  loop_.drain();
  while (relay_ && !relay_->read_all() && relay_->step()) {
  }
  after_progress();
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
  } else if (std::holds_alternative<wire::HostsWait>(message)) {
    plan_.note("hosts that stand still");
  } else if (std::holds_alternative<wire::HostsGiveUp>(message)) {
    say(GaveUp{});
  } else if (std::holds_alternative<wire::HostsEnd>(message)) {
    over_ = true;
    say(AllDone{});
  } else if (const auto* failed = std::get_if<wire::Failed>(&message)) {
    fail(wire::error_of(*failed));
  } else {
    throw Violation("the hub says what only hosts may say");
  }
}

void Bridge::begin(const wire::HostsBegin& begin) {
  for (const HostId host : begin.ids) {
    if (host != plan_.host) peers_.know(host);
  }
}

void Bridge::halt(const wire::HostsHalt& halt) {
  if (over_ || halt.number <= halted_) return;
  halted_ = halt.number;
  const bool goes_on = plan_.plant == Plant::kNoHalt;
  went_ = goes_on;
  for (const HostId lost : halt.lost) {
    peers_.cut(lost);
    arriving_.erase(lost);
  }
  if (!goes_on) {
    relay_.reset();
    taker_.reset();
    wanted_ = 0;
    watch_.want({}, 0);
  }
  plan_.tell_hub(
      wire::HostStands{halt.number, world_ ? world_->done(first_round_) : first_round_, empty_});
  if (done_ && plan_.plant != Plant::kDoneOnce) plan_.tell_hub(wire::HostDone{});
}

round::Sums Bridge::sums() const {
  round::Sums sums;
  sums.shards = job_.shards;
  sums.elements = job_.space.elements();
  sums.tensors = job_.space.tensors();
  sums.targets = {{0, job_.shards}};
  sums.full_samples = kFullSamples;
  sums.carried = job_.carried.has_value();
  return sums;
}

void Bridge::line_up(member::Lineup lineup) {
  if (over_ || lineup.number < halted_ || (lineup_ && lineup.number <= lineup_->number)) return;
  const Status status = member::validate(lineup, job_.shards, job_.space.blocks());
  if (!status.ok()) return fail(status.error());
  const member::HostPart* me = member::part_of(lineup, plan_.host);
  if (me == nullptr) {
    return fail({ErrorKind::kUnavailable, "the run goes on without this host"});
  }
  if (!world_) {
    auto world =
        round::World::make(memory_.world(), memory_.control().agents[fabric::kWorld], sums());
    if (!world.ok()) return fail(world.error());
    world_.emplace(world.take());
  }
  mine_ = me->shards;
  halted_ = lineup.number;
  lined_up_at_ = loop_.timeline().now();
  went_ = said_took_ = given_ = false;
  round::RelaySetup setup{lineup.number, plan_.host, lineup.first_round, {}, lineup.donor};
  if (empty_) {
    if (const Status taking = take_from(lineup); !taking.ok()) return fail(taking.error());
    setup.donor.reset();
  } else if (world_->done(first_round_) >= lineup.first_round) {
    setup.donor.reset();
  }
  if (plan_.plant == Plant::kNoDonor) setup.donor.reset();
  for (const member::HostPart& part : lineup.hosts) {
    setup.hosts.push_back({part.host,
                           part.shards,
                           {part.first_block * kBlockElements, part.blocks * kBlockElements}});
  }
  lineup_ = std::move(lineup);
  relay_ = std::make_shared<round::Relay>(std::move(setup), *world_,
                                          static_cast<round::Carrier&>(*this));
  peers_.forget_waiting();
  stale_view_ = gives() && !views_.empty() ? views_.back().epoch.number : 0;
  if (gives()) world_->forget();
  offer(lineup_->first_round - 1);
  offer(lineup_->first_round);
  say(Adopt{mine_, lineup_->first_round, gives()});
  took_if_connected();
}

bool Bridge::gives() const { return !lineup_->newcomers.empty() && lineup_->donor == plan_.host; }

Status Bridge::take_from(const member::Lineup& lineup) {
  const auto& newcomers = lineup.newcomers;
  if (std::find(newcomers.begin(), newcomers.end(), plan_.host) == newcomers.end()) {
    return Error{ErrorKind::kUnavailable, "nobody gives this host the state of the run"};
  }
  const std::uint64_t round = lineup.first_round;
  taker_ = std::make_shared<round::StateTaker>(lineup.number, round, memory_.state(),
                                               memory_.state_parts(round));
  return {};
}

std::vector<HostId> Bridge::lacks() const {
  return member::lacked_peers(*lineup_, plan_.host, [this](HostId it) { return peers_.is_up(it); });
}

void Bridge::took_if_connected() {
  if (!lineup_ || said_took_ || alone_ || !lacks().empty()) return;
  said_took_ = true;
  plan_.tell_hub(wire::HostTook{lineup_->number});
  if (plan_.plant == Plant::kGoEarly) go(lineup_->number);
}

void Bridge::say_what_it_lacks(std::uint32_t number) {
  if (over_ || alone_ || !lineup_ || number != lineup_->number) return;
  plan_.tell_hub(wire::HostLacks{number, lacks()});
}

void Bridge::go(std::uint32_t number) {
  if (over_ || !lineup_ || number != lineup_->number || number < halted_ || !relay_) return;
  went_ = true;
  relay_->start();
  look_for_parts();
}

void Bridge::lose_hub(const std::string& why) {
  if (done_) return say(AllDone{});
  if (over_ || alone_) return;
  if (!lineup_ || empty_) return fail({ErrorKind::kUnavailable, why});
  alone_ = true;
  peers_.cut_all();
  arriving_.clear();
  say(Orphaned{why});
  const std::uint32_t number = std::max(halted_, lineup_->number) + 1;
  line_up(member::assign_hosts(number, world_->done(first_round_), {{plan_.host}}, job_.shards,
                               job_.space.blocks()));
  go(number);
}

}  // namespace instep::sim
