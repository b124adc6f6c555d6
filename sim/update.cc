#include "update.h"

#include <algorithm>
#include <cstring>

#include "round/undo.h"

namespace instep::sim {

TornUpdate::TornUpdate(const Job& job, Memory& memory, std::vector<reduce::Range> units,
                       round::UndoSlot& undo)
    : job_(job), memory_(memory), units_(std::move(units)), undo_(undo) {
  scratch_.resize(job.unit_elements);
  checks_.resize(job.unit_elements / reduce::kBlockElements);
}

void TornUpdate::prepare(std::uint64_t round, std::uint64_t updates, bool keep_combined) {
  round_ = round;
  updates_ = updates;
  keep_combined_ = keep_combined;
}

float* TornUpdate::target(std::size_t unit) {
  const reduce::Range& range = units_[unit];
  if (range.begin >= job_.carried_begin) return memory_.parameters(round_ + 1) + range.begin;
  return keep_combined_ ? memory_.combined() + range.begin : scratch_.data();
}

const float* TornUpdate::standing(std::size_t unit) {
  return memory_.parameters(round_) + units_[unit].begin;
}

void TornUpdate::apply(std::size_t unit, float factor) {
  const reduce::Range& range = units_[unit];
  unit_ = unit;
  factor_ = factor;
  at_ = range.begin;
  const bool carried = range.begin >= job_.carried_begin;
  if (!carried) {
    std::memcpy(memory_.parameters(round_ + 1) + range.begin, standing(unit),
                range.count * sizeof(float));
    undo_.save(range, round_, checks_);
  }
  torn_ = true;
  const std::uint64_t first = tear(range.count);
  if (first >= range.count) return go_on();
  if (!carried) step(range.begin, range.begin + first);
}

void TornUpdate::go_on() {
  torn_ = false;
  const reduce::Range& range = units_[unit_];
  if (range.begin < job_.carried_begin) step(at_, range.end());
  round::set_stamps(memory_.stamps(), range, round_);
}

void TornUpdate::step(std::uint64_t begin, std::uint64_t end) {
  float* const moment[2] = {memory_.moment(0), memory_.moment(1)};
  const float* gradient = target(unit_) + (begin - units_[unit_].begin);
  job_.step(begin, end, gradient, factor_, updates_, memory_.parameters(round_ + 1), moment);
  at_ = end;
}

void TornUpdate::carry(std::size_t unit) {
  const reduce::Range& range = units_[unit];
  std::memcpy(memory_.parameters(round_ + 1) + range.begin, standing(unit),
              range.count * sizeof(float));
  round::set_stamps(memory_.stamps(), range, round_);
}

}  // namespace instep::sim
