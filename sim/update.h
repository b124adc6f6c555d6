// What a simulated owner does with its slice: as sync::FusedUpdate, but its stores may be torn
// anywhere and go on later.
#pragma once

#include <functional>
#include <vector>

#include "job.h"
#include "memory.h"
#include "round/exchange.h"

namespace instep::sim {

class TornUpdate : public round::Update {
 public:
  TornUpdate(const Job& job, Memory& memory, std::vector<reduce::Range> units,
             round::UndoSlot& undo);

  void prepare(std::uint64_t round, std::uint64_t updates, bool keep_combined);
  float* target(std::size_t unit) override;
  void apply(std::size_t unit, float factor) override;
  void carry(std::size_t unit) override;
  const float* standing(std::size_t unit) override;

  // How many of a unit's elements are stepped before the agent is interrupted; at least as many as
  // there are: it is not.
  std::function<std::uint64_t(std::uint64_t elements)> tear;
  bool torn() const { return torn_; }
  void go_on();

 private:
  void step(std::uint64_t begin, std::uint64_t end);

  const Job& job_;
  Memory& memory_;
  const std::vector<reduce::Range> units_;
  round::UndoSlot& undo_;
  std::vector<float> scratch_;
  std::vector<std::uint64_t> checks_;  // of what is saved; nobody damages a simulated block
  std::uint64_t round_ = 0, updates_ = 0;
  bool keep_combined_ = false, torn_ = false;
  std::size_t unit_ = 0;  // torn
  std::uint64_t at_ = 0;
  float factor_ = 1;
};

}  // namespace instep::sim
