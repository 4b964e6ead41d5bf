#include "virtio/rng/rng.hpp"

#include <gtest/gtest.h>

#include <set>

#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using testing::data_base;
using testing::PciGuest;

struct RngTest : ::testing::TestWithParam<bool> {
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  PciGuest guest{*memory, std::make_unique<Rng>("rng0", *memory)};
  u64 features() const { return GetParam() ? ~u64{0} : ~f_packed; }
};

TEST_P(RngTest, GivesBytesThatDiffer) {
  guest.bring_up(features());
  std::set<u64> seen;
  for (int i = 0; i < 200; ++i) {
    const auto length = guest.request(0, {{data_base, 8, true}, {data_base + 64, 8, true}}, i % 2);
    ASSERT_TRUE(length);
    ASSERT_EQ(*length, 16u);
    seen.insert(*memory->read_value<u64>(Gpa(data_base)));
    seen.insert(*memory->read_value<u64>(Gpa(data_base + 64)));
  }
  EXPECT_EQ(seen.size(), 400u);
  EXPECT_FALSE(guest.segment.irqs.messages.empty());
  EXPECT_EQ(guest.segment.irqs.messages[0].data, 0x40u);
}

TEST_P(RngTest, OneRequestIsBounded) {
  guest.bring_up(features());
  const auto length = guest.request(0, {{data_base, MiB, true}});
  ASSERT_TRUE(length);
  EXPECT_GT(*length, 0u);
  EXPECT_LE(*length, 4096u);
}

TEST_P(RngTest, AReadableRequestGetsNothing) {
  guest.bring_up(features());
  EXPECT_EQ(guest.request(0, {{data_base, 8}}), 0u);
}

TEST_P(RngTest, NonsenseAsksForAReset) {
  guest.bring_up(features());
  guest.segment.irqs.messages.clear();
  guest.queues[0]->add({{testing::guest_ram, 8, true}});
  guest.kick(0);
  ASSERT_TRUE(testing::eventually([&] { return guest.status() & status::needs_reset; }));
  ASSERT_TRUE(testing::eventually([&] { return !guest.segment.irqs.messages.empty(); }));
  EXPECT_EQ(guest.segment.irqs.messages[0].data, 0x41u);  // the configuration's vector
  guest.bring_up(features());
  EXPECT_EQ(guest.request(0, {{data_base, 8, true}}), 8u);
}

TEST_P(RngTest, AQueueIsResetAlone) {
  guest.bring_up(features());
  EXPECT_EQ(guest.request(0, {{data_base, 8, true}}), 8u);
  guest.store(0x16, 0, 2);
  guest.store(0x3a, 1, 2);
  EXPECT_EQ(guest.load(0x3a, 2), 0u);
  EXPECT_EQ(guest.load(0x1c, 2), 0u);
  guest.set_up_queue(0, 8);
  EXPECT_EQ(guest.request(0, {{data_base, 8, true}}), 8u);
}

TEST_P(RngTest, GoesOnAfterRestore) {
  guest.bring_up(features());
  for (int i = 0; i < 21; ++i) ASSERT_EQ(guest.request(0, {{data_base, 8, true}}), 8u);
  const auto state = bus::testing::saved(*guest.pci);
  PciGuest other(*memory, std::make_unique<Rng>("rng0", *memory));
  guest.queues[0]->add({{data_base, 8, true}});  // seen by the other one, without a kick
  guest.pci->pause();
  ASSERT_TRUE(bus::testing::restored(*other.pci, state));
  EXPECT_EQ(guest.finished(0), 8u);
}

TEST_P(RngTest, APausedDeviceTouchesNothing) {
  guest.bring_up(features());
  guest.pci->pause();
  guest.queues[0]->add({{data_base, 8, true}});
  guest.kick(0);
  EXPECT_FALSE(guest.queues[0]->take());
  guest.pci->resume();
  EXPECT_EQ(guest.finished(0), 8u);
}

INSTANTIATE_TEST_SUITE_P(Rings, RngTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Rng, ASlowBudgetDoesNotHoldAReset) {
  auto memory = *memory::GuestMemory::create(testing::guest_ram);
  PciGuest guest(*memory, std::make_unique<Rng>("rng0", *memory, RngConfig{.bytes_per_second = 1}));
  guest.bring_up();
  for (int i = 0; i < 8; ++i) guest.queues[0]->add({{data_base, 4096, true}});
  guest.kick(0);
  guest.set_status(0);
  EXPECT_EQ(guest.status(), 0);
}

TEST(Rng, Contract) {
  testing::check_virtio_contract([](memory::GuestMemory& memory) { return std::make_unique<Rng>("rng0", memory); });
}

}  // namespace
}  // namespace nagaya::virtio
