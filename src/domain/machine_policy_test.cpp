#include "domain/machine_policy.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace nagaya::domain {
namespace {

using When = RestartPolicy::When;

class MachinePolicyTest : public ::testing::Test {
 protected:
  MachinePolicyTest() {
    char name[] = "/tmp/nagaya-policy-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    machine_.spec.name = "m";
    machine_.places.folder = name;
  }
  ~MachinePolicyTest() override { std::filesystem::remove_all(machine_.places.folder); }
  Machine machine_;
};

TEST_F(MachinePolicyTest, IsKeptBesideTheMachine) {
  EXPECT_EQ(MachinePolicy::read(machine_), MachinePolicy{});
  for (const MachinePolicy& one : {MachinePolicy{{When::on_failure, 3}, false}, MachinePolicy{{When::unless_stopped, 0}, true}, MachinePolicy{}}) {
    ASSERT_TRUE(one.write(machine_));
    EXPECT_EQ(MachinePolicy::read(machine_), one);
  }
}

TEST_F(MachinePolicyTest, NonsenseIsNoPolicy) {
  for (const char* text : {"", "[]", "{\"restart\": 3}", "{\"restart\": \"often\"}", "{\"restart\": \"always\", \"more\": 1}", "{\"restart\": \"always\""}) {
    std::ofstream(machine_.places.policy()) << text;
    EXPECT_EQ(MachinePolicy::read(machine_), MachinePolicy{}) << text;
  }
}

TEST(MachinePolicy, SaysWhetherItIsStartedAgain) {
  struct Case {
    RestartPolicy policy;
    int code;
    unsigned restarts;
    bool again;
  };
  const Case cases[] = {{{When::no, 0}, 1, 0, false},         {{When::always, 0}, 0, 99, true},       {{When::unless_stopped, 0}, 0, 0, true},
                        {{When::on_failure, 0}, 0, 0, false}, {{When::on_failure, 0}, 137, 99, true}, {{When::on_failure, 2}, 1, 1, true},
                        {{When::on_failure, 2}, 1, 2, false}};
  for (const Case& one : cases) EXPECT_EQ((MachinePolicy{one.policy, false}).again(one.code, one.restarts), one.again) << one.policy.text() << " " << one.code;
}

TEST_F(MachinePolicyTest, WithTheHostUnlessSomebodyStoppedIt) {
  EXPECT_FALSE((MachinePolicy{{When::on_failure, 0}, false}).with_host(machine_));
  EXPECT_TRUE((MachinePolicy{{}, true}).with_host(machine_));
  const MachinePolicy always{{When::always, 0}, false}, unless{{When::unless_stopped, 0}, false};
  EXPECT_TRUE(unless.with_host(machine_));
  ASSERT_TRUE(mark_stopped(machine_));
  EXPECT_TRUE(was_stopped(machine_));
  EXPECT_FALSE(unless.with_host(machine_));
  EXPECT_TRUE(always.with_host(machine_));
  forget_stopped(machine_);
  EXPECT_TRUE(unless.with_host(machine_));
}

}  // namespace
}  // namespace nagaya::domain
