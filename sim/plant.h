// Bugs that a test plants, one at a time, to see that the simulator finds them. All of them lie in
// the simulator's own shells around the production code, which stays as it is.
#pragma once

namespace instep::sim {

enum class Plant {
  kNone,
  kEarlyProof,     // rule 1: a kill is taken for a death
  kNoUndo,         // rule 2: what the dead left half done stays
  kLateUndo,       // rule 2: it is undone when the view is out
  kForgetStamps,   // rule 2: whoever takes over updates all units
  kReuseSlot,      // rule 3: a slot is used again before everybody is done with the dead
  kBackup,         // rule 3: a member publishes a shard that the view gives to another
  kCountTwice,     // rule 3: a shard that was done again is counted again
  kForgetCarried,  // rule 4: what shards carry is not taken over
  kForgetBook,     // rule 4: the ledger is not taken over
  kSameNumber,     // rule 5: a view has the number of the one before
  kPlanTooEarly,   // rule 6: a planned view begins with a round that has begun
  kDeathTooLate,   // rule 6: a death's view begins behind what the dead still owed
  kDeathTooEarly,  // rule 6: a death's view begins with what some have behind them
  kBeforeVerdict,  // rule 7: owners apply without the verdict
  kOldBook,        // rule 9: a newcomer does not wait for its donor's new book
  kFlagAfterLook,  // rule 10: a waiter looks at the word before it raises its flag
  kOwnGap,         // rule 11: the coordinator's own gap counts against agents
  kSendFirst,      // rule 5: what the coordinator decides goes out before it is recorded
  kHearTwice,      // rule 5: the launcher does again what a new coordinator says again
  kForgetTold,     // rule 5: what the dead coordinator had not recorded is not told again
  // Of several hosts.
  kOldLineup,    // a relay takes a frame that was sent under an earlier line-up
  kGoEarly,      // a bridge exchanges under a line-up that others have not taken
  kNoHalt,       // it says where it stands, and goes on
  kNoStands,     // the hub does not wait for one of those that it has halted
  kNoDonor,      // who lacks the sums of the round before does not ask for them
  kWorldReused,  // rule 3: sums are overwritten before all members have read them
  kStaleLink,    // what was sent by a link is lost with it, and nobody says so
  kDoneOnce,     // that a host is done is not said again when it may have been lost
  kPending,      // what is still computed of an open part is taken as absent
  kHalfState,    // rule 9: a newcomer does not get what is stepped already of the round
  kFirstOfHosts = kOldLineup,
  kLast = kHalfState
};

const char* name_of(Plant plant);

}  // namespace instep::sim
