#include "coord/coordinator.h"

#include <signal.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <variant>

#include "base/failpoint.h"
#include "base/machine.h"
#include "base/text.h"
#include "coord/journal.h"
#include "fabric/control_link.h"
#include "member/coordinator.h"
#include "member/parcels.h"

namespace instep::coord {
namespace {

class Service {
 public:
  explicit Service(Fd socket) : link_(std::move(socket)) {}

  Status serve() {
    while (true) {
      INSTEP_ASSIGN_OR_RETURN(const auto received, link_.receive());
      if (!received) return {};
      const auto* parcel = std::get_if<wire::Parcel>(&received->message);
      if (parcel == nullptr) return invalid("what is said to the coordinator is no parcel");
      INSTEP_ASSIGN_OR_RETURN(auto heard, member::decode_for_coordinator(parcel->body));
      failpoint("coordinator.heard");
      if (auto* open = std::get_if<member::Open>(&heard)) {
        INSTEP_RETURN_IF_ERROR(begin(*open));
      } else {
        INSTEP_RETURN_IF_ERROR(hear(std::get<member::Told>(std::move(heard))));
      }
    }
  }
  void complain(const Error& error) { (void)link_.send(wire::failed_of(error)); }

 private:
  Status begin(const member::Open& open) {
    if (coordinator_) return invalid("the coordinator was begun with before");
    if (!open.journal.empty()) {
      INSTEP_ASSIGN_OR_RETURN(JournalFile journal, JournalFile::open(open.journal));
      journal_.emplace(std::move(journal));
    }
    const auto& newest = journal_ ? journal_->newest() : std::nullopt;
    if (!open.again) {
      coordinator_.emplace(open.rules);
    } else if (newest) {
      coordinator_.emplace(*newest);
    } else {
      return Error{ErrorKind::kUnavailable, "the coordinator died, and its journal is gone"};
    }
    coordinator_->begin_generation(
        std::max(open.generation, newest ? newest->state.generation : 0));
    INSTEP_ASSIGN_OR_RETURN(const auto replies, coordinator_->open(open.heard, monotonic_ns()));
    // Its generation is on the disk before anybody hears of it.
    if (journal_) INSTEP_RETURN_IF_ERROR(journal_->rewrite(coordinator_->record()));
    failpoint("coordinator.begun");
    for (const member::Reply& reply : replies) INSTEP_RETURN_IF_ERROR(send(reply));
    return {};
  }

  Status hear(member::Told told) {
    if (!coordinator_) return invalid("the coordinator was not begun with");
    INSTEP_ASSIGN_OR_RETURN(member::Reply reply,
                            coordinator_->take(std::move(told), monotonic_ns()));
    failpoint("coordinator.decided");
    if (reply.number != 0 && journal_) {
      const Status written = journal_->write(coordinator_->record());
      // Agents hold their view, so the run need not end for that: only a death of this process
      // could not be made good.
      if (!written.ok() && !behind_) {
        reply.warning =
            cat("the coordinator's journal cannot be written, so the run ends early if "
                "the coordinator dies: ",
                written.error().message);
      }
      behind_ = !written.ok();
    }
    failpoint("coordinator.recorded");
    INSTEP_RETURN_IF_ERROR(send(reply));
    failpoint("coordinator.sent");
    return {};
  }

  Status send(const member::Reply& reply) {
    return link_.send(wire::Parcel{member::encode(reply)});
  }

  fabric::ControlLink link_;
  std::optional<JournalFile> journal_;
  std::optional<member::Coordinator> coordinator_;
  bool behind_ = false;
};

}  // namespace

int coordinate(int socket) {
  // A scheduler asks all processes of a job to end; it is the launcher who decides how.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  Service service{Fd(socket)};
  const Status served = service.serve();
  if (served.ok()) return 0;
  std::fprintf(stderr, "coordinator: %s\n", served.error().message.c_str());
  service.complain(served.error());
  return 1;
}

void coordinate_if_asked() {
  const char* given = std::getenv(kCoordinatorFd);
  if (given == nullptr) return;
  const std::string_view text = given;
  int socket = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), socket);
  if (read.ec != std::errc()) return;
  const int code = coordinate(socket);
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace instep::coord
