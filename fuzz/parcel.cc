// What the launcher and its coordinator say to each other, and the coordinator's journal.
#include "input.h"
#include "member/coordinator.h"
#include "member/parcels.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Bytes body = fuzz::bytes_of(data, size);
  if (auto told = member::decode_for_coordinator(body); told.ok()) {
    const auto write = [](const auto& it) { return member::encode(it); };
    const std::vector<std::byte> once = std::visit(write, *told);
    const auto again = member::decode_for_coordinator(once);
    INSTEP_CHECK(again.ok() && std::visit(write, *again) == once, "as it was read");
  }
  if (auto reply = member::decode_reply(body); reply.ok()) {
    const std::vector<std::byte> once = member::encode(*reply);
    const auto again = member::decode_reply(once);
    INSTEP_CHECK(again.ok() && member::encode(*again) == once, "as it was read");
  }
  if (auto journal = member::read_journal(body); journal.ok()) {
    INSTEP_CHECK(journal->whole <= size, "no more is whole than there is");
    const auto again = member::read_journal(body.first(journal->whole));
    INSTEP_CHECK(again.ok() && again->whole == journal->whole, "what is whole stays so");
  }
  return 0;
}

}  // namespace instep
