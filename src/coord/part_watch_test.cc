#include "coord/part_watch.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "fabric/wait.h"

namespace instep::coord {
namespace {

using fabric::Ticket;

class PartWatchTest : public ::testing::Test {
 protected:
  PartWatchTest() {
    auto files = fabric::make_host_files(3);
    EXPECT_TRUE(files.ok());
    auto mapping = fabric::Mapping::map(files->control, true);
    EXPECT_TRUE(mapping.ok());
    control_ = mapping.take();
    page_ = fabric::control_page(control_);
    watch_.emplace(page_, [this](Ticket ticket) {
      const std::lock_guard lock(mutex_);
      heard_.push_back(ticket);
      changed_.notify_all();
    });
  }
  void tell(member::AgentId agent) {
    fabric::AgentWords& words = page_->agents[agent];
    fabric::publish(words.news, words.news.load() + 1);
    fabric::wake(words.news);
  }
  void open(member::AgentId agent, Ticket ticket) {
    page_->agents[agent].opened.store(ticket);
    tell(agent);
  }
  void publish(member::AgentId agent, Ticket ticket) {
    page_->agents[agent].published.store(ticket);
    tell(agent);
  }
  // The next that it says, and it says nothing before that.
  Ticket next() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !heard_.empty(); }));
    const Ticket ticket = heard_.empty() ? 0 : heard_.front();
    if (!heard_.empty()) heard_.pop_front();
    return ticket;
  }
  // That of one that is there at once: what was wanted before is heard of no more.
  void expect_nothing_but(Ticket ticket) {
    publish(2, ticket);
    watch_->want({2}, ticket);
    EXPECT_EQ(next(), ticket);
  }

  fabric::Mapping control_;
  fabric::ControlPage* page_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ticket> heard_;  // guarded by mutex_
  std::optional<PartWatch> watch_;
};

TEST_F(PartWatchTest, TellsOfPartsThatAreThere) {
  publish(0, 7);
  publish(1, 8);
  watch_->want({0, 1}, 7);
  EXPECT_EQ(next(), 7U);
  expect_nothing_but(9);
}

TEST_F(PartWatchTest, WaitsForAllMembers) {
  watch_->want({0, 1}, 7);
  publish(0, 7);
  expect_nothing_but(3);
  watch_->want({0, 1}, 7);
  publish(1, 7);
  EXPECT_EQ(next(), 7U);
  expect_nothing_but(9);
}

TEST_F(PartWatchTest, TellsOfEachThingMoreUntilAllIsThere) {
  publish(0, 7);
  open(1, 6);
  watch_->want({0, 1}, 7);
  open(1, 7);
  EXPECT_EQ(next(), 7U);
  tell(1);
  EXPECT_EQ(next(), 7U);
  publish(1, 7);
  EXPECT_EQ(next(), 7U);
  tell(1);
  expect_nothing_but(9);
}

TEST_F(PartWatchTest, WaitsForAllWhoAreOpenToSayMore) {
  open(0, 7);
  open(1, 7);
  watch_->want({0, 1}, 7);
  EXPECT_EQ(next(), 7U);
  tell(0);
  expect_nothing_but(9);
}

}  // namespace
}  // namespace instep::coord
