#include "round/book.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "base/random.h"

namespace instep::round {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class BookTest : public testing::Test {
 protected:
  Result<Book> newest() { return read_book(memory_, words_->book.load()); }

  std::vector<std::byte> memory_ = std::vector<std::byte>(64 << 20);
  fabric::Arena arena_{memory_};
  void* reserved_ = arena_.take(1);
  std::unique_ptr<fabric::AgentWords> words_ = std::make_unique<fabric::AgentWords>();
  BookWriter writer_{arena_, *words_};
};

TEST_F(BookTest, SaysWhatWasCommittedAndNothingElse) {
  writer_.set_history(bytes_of("history"));
  writer_.append(bytes_of("row00001"));
  writer_.commit(3, bytes_of("state"));
  writer_.append(bytes_of("row00002"));
  writer_.set_history(bytes_of("later"));
  auto book = newest();
  ASSERT_TRUE(book.ok());
  EXPECT_EQ(book->round, 3U);
  EXPECT_EQ(text_of(book->state), "state");
  EXPECT_EQ(text_of(book->history), "history");
  EXPECT_EQ(text_of(book->log), "row00001");
  writer_.commit(4, bytes_of("other"));
  book = newest();
  ASSERT_TRUE(book.ok());
  EXPECT_EQ(text_of(book->history), "later");
  EXPECT_EQ(text_of(book->log), "row00001row00002");
  writer_.clear_log();
  writer_.append(bytes_of("row00003"));
  EXPECT_EQ(text_of(newest()->log), "row00001row00002");  // until it is committed
}

TEST_F(BookTest, ACopyIsTheSameBook) {
  writer_.append(bytes_of("12345678"));
  writer_.commit(9, bytes_of("abc"));
  const std::vector<std::byte> copy = copy_book(*newest());
  const auto book = read_book(copy, 0);
  ASSERT_TRUE(book.ok());
  EXPECT_EQ(book->round, 9U);
  EXPECT_EQ(text_of(book->state), "abc");
  EXPECT_EQ(text_of(book->log), "12345678");
}

// Whatever is written after a commit, the book that it made is whole until the next.
TEST_F(BookTest, ALongLifeLeavesAWholeBookAtEveryPoint) {
  Random random(1);
  std::string log;
  std::string committed_log;
  std::string history;
  std::string committed_history;
  std::uint64_t round = 0;
  for (int i = 0; i < 3000; ++i) {
    switch (random.below(5)) {
      case 0:
        history = std::string(random.below(2000), static_cast<char>('a' + random.below(26)));
        writer_.set_history(bytes_of(history));
        break;
      case 1:
        writer_.clear_log();
        log.clear();
        break;
      case 2:
      case 3: {
        const std::string rows(8 * random.below(40), static_cast<char>('A' + random.below(26)));
        writer_.append(bytes_of(rows));
        log += rows;
        break;
      }
      default:
        writer_.commit(++round, bytes_of(std::string(random.below(300), 's')));
        committed_log = log;
        committed_history = history;
    }
    if (round == 0) continue;
    const auto book = newest();
    ASSERT_TRUE(book.ok()) << i;
    ASSERT_EQ(book->round, round);
    ASSERT_EQ(text_of(book->log), committed_log) << i;
    ASSERT_EQ(text_of(book->history), committed_history) << i;
  }
  EXPECT_GT(round, 300U);
}

TEST_F(BookTest, DamageIsSeen) {
  writer_.append(bytes_of("12345678"));
  writer_.set_history(bytes_of("history"));
  writer_.commit(9, bytes_of("abc"));
  const std::vector<std::byte> copy = copy_book(*newest());
  for (std::size_t i = 0; i < copy.size(); ++i) {
    std::vector<std::byte> damaged = copy;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(read_book(damaged, 0).ok()) << i;
    EXPECT_FALSE(read_book(std::span(copy).first(i), 0).ok()) << i;
  }
}

}  // namespace
}  // namespace instep::round
