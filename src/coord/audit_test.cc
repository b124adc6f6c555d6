#include "coord/audit.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/testing_folder.h"
#include "base/time.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

class AuditTest : public FolderTest {
 protected:
  fs::path file() const { return folder_ / "audit.jsonl"; }
  std::string text() const {
    std::ostringstream out;
    out << std::ifstream(file()).rdbuf();
    return out.str();
  }
  std::vector<AuditEvent> read() const {
    auto events = read_audit(folder_);
    EXPECT_TRUE(events.ok()) << events.error().message;
    return events.ok() ? events.take() : std::vector<AuditEvent>{};
  }
};

AuditEvent refused(const std::string& address) {
  return {"", "refused", {}, "", address, "no such token"};
}

TEST_F(AuditTest, EventsAreReadAsTheyWereAdded) {
  auto audit = Audit::open(folder_).take();
  ASSERT_TRUE(audit.add({"", "listening", {}, "", "10.0.0.2:4600", ""}, 1).ok());
  ASSERT_TRUE(audit.add({"", "joined", 7, "node7", "10.0.0.7:5000", "asked"}, 2).ok());
  const auto events = read();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].what, "listening");
  EXPECT_EQ(events[0].host, std::nullopt);
  EXPECT_EQ(events[0].times, 1U);
  EXPECT_EQ(events[1].what, "joined");
  EXPECT_EQ(events[1].host, 7U);
  EXPECT_EQ(events[1].name, "node7");
  EXPECT_EQ(events[1].address, "10.0.0.7:5000");
  EXPECT_EQ(events[1].reason, "asked");
  EXPECT_EQ(events[1].time.size(), std::string("2025-01-31 12:00:00").size());
}

TEST_F(AuditTest, IsAppendedToAndOnesOwnersAlone) {
  ASSERT_TRUE(Audit::open(folder_).take().add(refused("a:1"), 1).ok());
  ASSERT_TRUE(Audit::open(folder_).take().add(refused("b:2"), 1).ok());
  EXPECT_EQ(read().size(), 2U);
  struct stat info {};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(AuditTest, ThereIsNoneInARunOfOneHost) {
  const auto events = read_audit(folder_);
  ASSERT_FALSE(events.ok());
  EXPECT_EQ(events.error().kind, ErrorKind::kNotFound);
}

// Somebody who tries tokens as fast as he can must not fill the disk.
TEST_F(AuditTest, AlikeWithinASecondAreCountedAndNotWritten) {
  auto audit = Audit::open(folder_).take();
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(audit.add(refused("a:1"), 5 * kSecond + i).ok());
  EXPECT_EQ(read().size(), 1U);
  // One of another kind, at once: none of the thousand is lost.
  ASSERT_TRUE(audit.add({"", "joined", 1, "node1", "", ""}, 5 * kSecond + 1000).ok());
  auto events = read();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].what, "refused");
  EXPECT_EQ(events[1].what, "refused");
  EXPECT_EQ(events[0].times + events[1].times, 1000U);
  EXPECT_EQ(events[2].what, "joined");

  // And after a second the next one alike.
  ASSERT_TRUE(audit.add(refused("a:1"), 6 * kSecond).ok());
  ASSERT_TRUE(audit.add(refused("b:2"), 7 * kSecond - 1).ok());
  ASSERT_TRUE(audit.add(refused("a:1"), 7 * kSecond).ok());
  events = read();
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[3].times + events[4].times + events[5].times, 3U);
}

TEST_F(AuditTest, StrangersOfManyKindsAreCountedToo) {
  auto audit = Audit::open(folder_).take();
  for (int i = 0; i < 1000; ++i) {
    AuditEvent event = refused("a:1");
    event.reason = std::to_string(i % 7);
    ASSERT_TRUE(audit.add(event, 5 * kSecond + i).ok());
  }
  ASSERT_TRUE(audit.add({"", "joined", 1, "node1", "", ""}, 5 * kSecond + 1000).ok());
  const auto events = read();
  ASSERT_EQ(events.size(), 6U);
  std::uint64_t times = 0;
  for (std::size_t i = 0; i < 5; ++i) times += events[i].times;
  EXPECT_EQ(times, 1000U);
  EXPECT_EQ(events[4].what, "turned away");
  EXPECT_EQ(events[4].reason, "for several reasons");
}

TEST_F(AuditTest, OfDifferentReasonsEachIsWritten) {
  auto audit = Audit::open(folder_).take();
  ASSERT_TRUE(audit.add(refused("a:1"), 1).ok());
  AuditEvent other = refused("a:1");
  other.reason = "expired";
  ASSERT_TRUE(audit.add(other, 2).ok());
  other.host = 3;
  ASSERT_TRUE(audit.add(other, 3).ok());
  EXPECT_EQ(read().size(), 3U);
}

// A machine that lost its power in the midst of a line.
TEST_F(AuditTest, ALastLineThatIsCutOffIsLeftOut) {
  ASSERT_TRUE(Audit::open(folder_).take().add(refused("a:1"), 1).ok());
  const std::string line = text();
  for (std::size_t kept = 0; kept < line.size(); ++kept) {
    std::ofstream(file()) << line << line.substr(0, kept);
    EXPECT_EQ(read().size(), 1U) << kept;
  }
}

TEST_F(AuditTest, LinesThatAreNoEventsArePassedOver) {
  std::ofstream(file()) << "\n[]\n7\n{\n\xff\xfe\n"
                        << R"({"what":7,"host":-1,"times":"x","name":null})"
                        << "\n"
                        << R"({"what":"lost","host":4294967296,"times":-2})"
                        << "\n";
  const auto events = read();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].what, "");
  EXPECT_EQ(events[0].host, std::nullopt);
  EXPECT_EQ(events[1].what, "lost");
  EXPECT_EQ(events[1].host, std::nullopt);
  EXPECT_EQ(events[1].times, 1U);
}

// Names come from whoever knocks.
TEST_F(AuditTest, StrangersBytesStayOneLineOfText) {
  auto audit = Audit::open(folder_).take();
  std::string name = "a\n{\"what\":\"joined\"}\n\x1b[2J\"\\\xff\xc3";
  name += '\0';
  ASSERT_TRUE(audit.add({"", "refused", {}, name, "", ""}, 1).ok());
  const std::string written = text();
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
  EXPECT_TRUE(std::all_of(written.begin(), written.end() - 1,
                          [](char c) { return c >= ' ' && c < '\x7f'; }));
  const auto events = read();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].what, "refused");
  EXPECT_TRUE(events[0].name.starts_with("a\n{\"what\":\"joined\"}\n\x1b[2J\"\\"));
}

}  // namespace
}  // namespace instep::coord
