// What the launcher and its coordinator say to each other, and the coordinator's journal.
#include "input.h"
#include "member/coordinator.h"
#include "member/parcels.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Bytes body = fuzz::bytes_of(data, size);
  const auto write = [](const auto& it) { return member::encode(it); };
  using Parcel = std::variant<member::Open, member::Told, member::Reply, member::Record>;
  static const fuzz::Kinds<Parcel> kParcels;
  static const fuzz::Kinds<member::Event> kEvents;
  static const fuzz::Kinds<member::Action> kActions;
  if (const auto told = member::decode_for_coordinator(body); told.ok()) {
    kParcels.saw(*told);
    if (const auto* it = std::get_if<member::Told>(&*told)) kEvents.saw(it->event);
    fuzz::expect_same_again(*told, member::decode_for_coordinator,
                            [&](const auto& it) { return std::visit(write, it); });
  }
  if (const auto reply = member::decode_reply(body); reply.ok()) {
    kParcels.saw(*reply);
    for (const member::Action& action : reply->actions) kActions.saw(action);
    fuzz::expect_same_again(*reply, member::decode_reply, write);
  }
  if (auto journal = member::read_journal(body); journal.ok()) {
    if (journal->newest) kParcels.saw(*journal->newest);
    INSTEP_CHECK(journal->whole <= size, "no more is whole than there is");
    const auto again = member::read_journal(body.first(journal->whole));
    INSTEP_CHECK(again.ok() && again->whole == journal->whole, "what is whole stays so");
  }
  return 0;
}

}  // namespace instep
