#include "coord/fake_agent_test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/text.h"
#include "coord/coordinator.h"
#include "fabric/control_link.h"
#include "fabric/host_memory.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;

// Behaviours, of agent "who" (a number, or "all"): "WHO:WHAT".
//   train      says what an agent says, three rounds, done
//   forever    trains until it is asked to stop
//   deaf       trains for ever, whatever is asked; only a kill ends it
//   kill       dies by SIGKILL once it has the view
//   exit3      says something on stderr and exits with 3 once it has the view
//   failed     reports a NaN once it has the view
//   stranger   has another fingerprint
//   early      exits with 0 before it says anything
//   chatty     prints lines on stdout, then trains
//   hangup     closes its link once it has the view, and stays
class FakeAgent {
 public:
  FakeAgent(std::string what, int slot, int fd)
      : what_(std::move(what)), slot_(slot), link_(Fd(fd)) {}

  int run() {
    if (what_ == "early") return 0;
    if (what_ == "chatty") {
      std::printf("one\ntwo without an end");
      std::fflush(stdout);
    }
    if (what_ == "deaf") ::signal(SIGTERM, SIG_IGN);
    wire::Hello hello;
    hello.agent = slot_;
    hello.pid = ::getpid();
    hello.fingerprint = {{"build", what_ == "stranger" ? "other" : "same"}, {"libtorch", "9"}};
    say(hello);
    auto welcome = link_.receive();
    if (!welcome.ok() || !welcome->has_value()) return 9;
    const auto* words = std::get_if<wire::Welcome>(&(*welcome)->message);
    if (words == nullptr) return 0;  // told to stop
    const std::size_t expected =
        2 + (words->has_dataset ? 1 : 0) + (words->has_world ? 1 : 0) + words->slots;
    if ((*welcome)->descriptors.size() != expected) return 8;
    auto control = fabric::Mapping::map((*welcome)->descriptors[0], true);
    if (!control.ok()) return 7;
    words_ = &fabric::control_page(*control)->agents[slot_];
    status_ = &words_->status;
    if (words->mode == "predict") {
      std::printf("prediction of %s\n", words->predict_input.c_str());
      std::fflush(stdout);
      say(wire::Done{"{}"});
      return 0;
    }
    wire::Ready ready;
    ready.job_json = words->job_json.empty() ? "{}" : words->job_json;
    ready.job_hash = "hash";
    ready.shards = 2;
    ready.blocks = 10;
    ready.owners = "all";
    ready.state_hash = words->has_world ? "hosted" : "s";
    say(ready);
    while (true) {
      auto told = link_.receive();
      if (!told.ok() || !told->has_value()) return 6;
      const auto* view = std::get_if<wire::ViewMessage>(&(*told)->message);
      if (view == nullptr) return 0;
      const bool member = std::count(view->members.begin(), view->members.end(), slot_) > 0;
      if (!member && words->joining) continue;  // a spare of the first view is done at once
      words_->taken.store(view->number);
      return train();
    }
  }

 private:
  void say(const wire::Message& message) { (void)link_.send(message).ok(); }

  int train() {
    if (what_ == "kill") ::raise(SIGKILL);
    if (what_ == "exit3") {
      std::fprintf(stderr, "the dog ate the gradient\n");
      return 3;
    }
    if (what_ == "failed") {
      say(wire::Failed{int(ErrorKind::kInvalid), "the loss is NaN in round 7, shard 1"});
      return 2;
    }
    if (what_ == "hangup") {
      link_.shut_down();
      while (true) ::pause();
    }
    status_->state.store(std::uint32_t(fabric::AgentState::kTraining));
    status_->round.store(3);
    if (slot_ == 0) {
      for (int round = 1; round <= 3; ++round) {
        say(wire::Progress{"rounds", cat("{\"round\":", round, ",\"loss\":0.5}")});
      }
      say(wire::Progress{"epoch", R"({"data_epoch":1,"round":3,"train_loss":0.5})"});
      say(wire::Progress{"event", R"({"round":2,"kind":"slow","agent":1,"stall_ms":3})"});
    }
    std::string stopped;
    if (what_ == "deaf") {
      while (true) ::pause();
    }
    if (what_ == "forever") {
      while (true) {
        auto told = link_.receive();
        if (!told.ok() || !told->has_value()) return 5;
        const auto* stop = std::get_if<wire::StopRequest>(&(*told)->message);
        if (stop == nullptr) continue;
        stopped = stop->reason;
        break;
      }
    }
    status_->state.store(std::uint32_t(fabric::AgentState::kDone));
    say(wire::Done{Json{{"rounds", 3},
                        {"stopped", stopped},
                        {"bytes", {{"sent", 10}, {"received", 20}}},
                        {"cbwr", std::getenv("MKL_CBWR")},
                        {"first_round_ns", std::stod(std::getenv("INSTEP_START_NS")) + 5e8}}
                       .dump()});
    return 0;
  }

  std::string what_;
  int slot_;
  fabric::ControlLink link_;
  fabric::AgentWords* words_ = nullptr;
  fabric::AgentStatus* status_ = nullptr;
};

// Runs before main(), so before any test is looked for.
const bool kIsAgent = [] {
  coordinate_if_asked();
  const char* plan = std::getenv(kFakeAgent);
  const char* fd = std::getenv("INSTEP_CONTROL_FD");
  const char* slot = std::getenv("INSTEP_AGENT");
  if (plan == nullptr || fd == nullptr || slot == nullptr) return false;
  std::string what = "train";
  std::string rest = plan;
  while (!rest.empty()) {
    const std::string item = rest.substr(0, rest.find(','));
    rest = item.size() < rest.size() ? rest.substr(item.size() + 1) : "";
    const std::string who = item.substr(0, item.find(':'));
    if (who == "all" || who == slot) what = item.substr(item.find(':') + 1);
  }
  const int code = FakeAgent(what, std::stoi(slot), std::stoi(fd)).run();
  std::fflush(nullptr);
  std::_Exit(code);
}();

}  // namespace
}  // namespace instep::coord
