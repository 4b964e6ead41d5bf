// Machines saved at arbitrary moments go on from the file as if nothing had been, on the same engine and on the other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

std::string after(const std::string& text, const std::string& mark) {
  std::size_t at = text.find(mark);
  if (at == std::string::npos) return "(none)";
  at += mark.size();
  return text.substr(at, text.find_first_of("\r\n", at) - at);
}

struct Life {
  int code = -1;
  std::string output, errors;
  int saves = 0;
};

// Runs `first`; saves and ends it after each of the random `pauses`, goes on from the file on the next engine of the list,
// until it ends by itself.
Life live_in_pieces(const Words& first, const std::vector<std::string>& engines, const std::string& started, unsigned seed, double shortest,
                    double longest, int most_saves) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> pause(shortest, longest);
  std::string file = scratch("saved-" + std::to_string(seed)), previous;
  Life life;
  for (int piece = 0;; ++piece) {
    Words words = piece == 0 ? first : Words{"run", "--restore", previous, "--no-reboot"};
    words.insert(words.end(), {"--engine", engines[static_cast<std::size_t>(piece) % engines.size()]});
    std::string next = file + "-" + std::to_string(piece);
    words.insert(words.end(), {"--save-on-signal", next, "--save-and-exit"});
    Command command(words);
    if (piece == 0 && !started.empty() && !command.wait_for(started)) {
      life.errors = "never started: " + command.errors();
      return life;
    }
    // Not before the machine's process has installed its handlers: a signal that comes earlier ends it.
    if (piece > 0 || started.empty()) sleep_for(0.3);
    sleep_for(pause(random));
    if (life.saves < most_saves) command.signal(SIGUSR1);
    bool ended = command.wait_end(300);
    life.output += command.output();
    life.errors += command.errors();
    std::error_code ignored;
    if (!previous.empty()) std::filesystem::remove(previous, ignored);
    if (!ended) {
      life.errors += "\nno end in piece " + std::to_string(piece);
      return life;
    }
    life.code = command.exit_code();
    // Either the file is there and the machine ended for it, or it had ended by itself before.
    if (life.code != 0 || !std::filesystem::exists(next)) return life;
    ++life.saves;
    previous = next;
  }
}

TEST(Saved, SmallGuestInPiecesComputesTheSame) {
  const std::string append = "steps=3000";
  Outcome whole = run(small_run("counter", "soft", append));
  ASSERT_EQ(whole.code, 7) << whole.errors;
  std::string sum = after(whole.output, "sum ");
  int saves = 0;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    Life life = live_in_pieces(small_run("counter", "soft", append), {"soft"}, "counting", seed, 0.0, 0.1, 20);
    EXPECT_EQ(life.code, 7) << life.errors;
    EXPECT_EQ(after(life.output, "sum "), sum) << "seed " << seed << " after " << life.saves << " saves";
    saves += life.saves;
  }
  EXPECT_GT(saves, 0);
}

TEST(Saved, SmallGuestGoesOnUnderTheOtherEngine) {
  if (engines().size() < 2) GTEST_SKIP() << "this host has one engine only";
  // Little work per step: a KVM that emulates the guest's kernel mode needs about a microsecond for each instruction.
  const std::string append = "steps=200 inner=400";
  Outcome whole = run(small_run("counter", "soft", append));
  ASSERT_EQ(whole.code, 7) << whole.errors;
  std::string sum = after(whole.output, "sum ");
  for (unsigned seed = 11; seed <= 14; ++seed) {
    std::vector<std::string> order = seed % 2 == 0 ? std::vector<std::string>{"soft", "kvm"} : std::vector<std::string>{"kvm", "soft"};
    Life life = live_in_pieces(small_run("counter", order[0], append), order, "counting", seed, 0.0, 0.2, 6);
    EXPECT_EQ(life.code, 7) << life.errors;
    EXPECT_EQ(after(life.output, "sum "), sum) << "seed " << seed << " after " << life.saves << " saves";
  }
}

TEST(Saved, FileIsTheSameMachineOrAnError) {
  std::string file = scratch("whole");
  Command command(small_run("counter", "soft", "steps=1000000", {"--save-on-signal", file, "--save-and-exit"}));
  ASSERT_TRUE(command.wait_for("counting")) << command.errors();
  sleep_for(0.2);
  command.signal(SIGUSR1);
  ASSERT_TRUE(command.wait_end(60));
  ASSERT_EQ(command.exit_code(), 0) << command.errors();
  std::ifstream in(file, std::ios::binary);
  std::string content(std::istreambuf_iterator<char>(in), {});
  ASSERT_GT(content.size(), 1000u);
  std::filesystem::remove(file);

  auto restore = [](const std::string& bytes) {
    std::string path = scratch("damaged");
    std::ofstream(path, std::ios::binary) << bytes;
    return run({"run", "--engine", "soft", "--restore", path, "--no-reboot", "--serial", "null"}, 60);
  };
  // Cut anywhere: an error, never a machine with half its state.
  for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{100}, std::size_t{900}, content.size() / 2, content.size() - 1}) {
    Outcome outcome = restore(content.substr(0, size));
    EXPECT_EQ(outcome.code, 125) << size << " bytes: " << outcome.errors;
  }
  // One byte of the description flipped: its checksum says so.
  std::mt19937 random(5);
  for (int i = 0; i < 10; ++i) {
    std::string damaged = content;
    std::size_t at = random() % 600;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_EQ(restore(damaged).code, 125) << "byte " << at;
  }
}

TEST(Saved, WithoutEndingItGoesOn) {
  std::string file = scratch("on-the-fly");
  Command command(small_run("counter", "soft", "steps=1000", {"--save-on-signal", file}));
  ASSERT_TRUE(command.wait_for("counting")) << command.errors();
  command.signal(SIGUSR1);
  ASSERT_TRUE(command.wait_end(120));
  EXPECT_EQ(command.exit_code(), 7) << command.errors();
  std::string sum = after(command.output(), "sum ");
  ASSERT_TRUE(std::filesystem::exists(file));
  // The file continues by itself, as often as one likes.
  for (int i = 0; i < 2; ++i) {
    Outcome again = run({"run", "--engine", "soft", "--restore", file, "--no-reboot"});
    EXPECT_EQ(again.code, 7) << again.errors;
    EXPECT_EQ(after(again.output, "sum "), sum);
  }
}

class LinuxSaved : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cpus, LinuxSaved, ::testing::Values(1, 2));

TEST_P(LinuxSaved, BootInPieces) {
  const std::string work = "seq 1 20000 | sort -r | sort -n | md5sum; echo finished";
  int saves = 0;
  for (unsigned seed = 1; seed <= 2; ++seed) {
    Words words = debian_run(work, {"-m", "192M", "-c", std::to_string(GetParam())});
    Life life = live_in_pieces(words, {"soft"}, "", seed * 100 + static_cast<unsigned>(GetParam()), 0.0, 0.5, 12);
    EXPECT_EQ(life.code, 0) << life.errors << life.output;
    EXPECT_THAT(life.output, HasSubstr("e071f707df7bbeee2a6a1eb48011ddd0")) << "seed " << seed << " after " << life.saves << " saves";
    EXPECT_THAT(life.output, HasSubstr("finished"));
    saves += life.saves;
  }
  EXPECT_GT(saves, 0);
}

}  // namespace
}  // namespace nagaya::system_test
