// Programs that run as they are, on the host's processor: each sees what it would see in translated code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

// The initramfs of Debian's kernel, and programs of ours behind it.
Words with_programs(const std::string& commands, const std::string& cpus, const std::string& mode, const std::string& log) {
  Words words = debian_run(commands, {"-m", "256M", "-c", cpus, "--engine", "soft", "--direct-execution", mode, "--engine-log", log});
  const std::string both = scratch("initrd-" + mode + cpus);
  const std::string join = "cat '" + debian("initrd-amd64") + "' '" + std::getenv("NAGAYA_PROGRAMS") + "' >'" + both + "'";
  EXPECT_EQ(std::system(join.c_str()), 0);
  for (std::size_t i = 1; i < words.size(); ++i)
    if (words[i - 1] == "--initrd") words[i] = both;
  return words;
}

// The same program for the host.
std::string program() {
  const std::string archive = std::getenv("NAGAYA_PROGRAMS");
  return archive.substr(0, archive.rfind(".cpio")) + "/test/program";
}

std::string on_the_host() {
  std::string out;
  FILE* pipe = ::popen(("timeout 60 '" + program() + "'").c_str(), "r");
  if (!pipe) return out;
  for (char line[256]; std::fgets(line, sizeof line, pipe);) out += line;
  ::pclose(pipe);
  return out;
}

std::string file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string sums_of(const std::string& output) {
  static const std::regex line("program: sum [0-9a-f]{16}");
  std::string out;
  for (std::sregex_iterator at(output.begin(), output.end(), line), end; at != end; ++at) out += at->str() + "\n";
  return out;
}

class DirectTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Modes, DirectTest, ::testing::Values("off", "auto", "always"), [](const auto& info) { return info.param; });

TEST_P(DirectTest, AProgramSeesWhatItShould) {
  const std::string log = scratch("log-" + GetParam());
  const Outcome one = run(with_programs("/test/program", "1", GetParam(), log), 240);
  EXPECT_EQ(one.code, 0) << one.errors << one.output;
  const std::string host = sums_of(on_the_host());
  EXPECT_EQ(sums_of(one.output), host) << one.output;
  EXPECT_FALSE(host.empty());
  const std::string text = file(log);
  if (GetParam() == "off") {
    EXPECT_THAT(text, ::testing::Not(HasSubstr("direct execution")));
  } else if (text.find("direct execution") != std::string::npos) {  // the host has the means
    std::smatch entered;
    ASSERT_TRUE(std::regex_search(text, entered, std::regex("direct execution: entered ([0-9]+)")));
    EXPECT_GT(std::atol(entered[1].str().c_str()), 0);
  }
}

TEST_P(DirectTest, SeveralAtATimeOnTwoProcessors) {
  const Outcome two = run(with_programs("for i in 1 2 3; do /test/program & done; wait", "2", GetParam(), scratch("log2-" + GetParam())), 400);
  EXPECT_EQ(two.code, 0) << two.errors << two.output;
  const std::string sum = sums_of(on_the_host());
  EXPECT_EQ(sums_of(two.output), sum + sum + sum) << two.output;
}

}  // namespace
}  // namespace nagaya::system_test
