#include "virtio/balloon/balloon.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using testing::data_base;
using testing::PciGuest;

constexpr u64 area = 16 * MiB;  // pages that are given away

class BalloonTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(memory->fill(Gpa(area), 8 * MiB, 0xaa));
    guest.bring_up(GetParam() ? ~u64{0} : ~f_packed);
  }
  u64 host_bytes() {
    struct stat info {};
    EXPECT_EQ(::fstat(memory->fd(), &info), 0);
    return static_cast<u64>(info.st_blocks) * 512;
  }
  void give(const std::vector<u32>& pages, unsigned queue = 0) {
    for (std::size_t i = 0; i < pages.size(); ++i) ASSERT_TRUE(memory->write_value<u32>(Gpa(data_base + 4 * i), pages[i]));
    ASSERT_TRUE(guest.queues[queue]->add({{data_base, static_cast<u32>(4 * pages.size())}}));
    guest.kick(queue);
  }
  Balloon& device() { return static_cast<Balloon&>(guest.pci->device()); }
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  PciGuest guest{*memory, std::make_unique<Balloon>("balloon0", *memory)};
};

TEST_P(BalloonTest, PagesGoBackToTheHost) {
  std::vector<u64> told;
  memory->on_write([&](Gpa at, u64 size) {
    if (at.value >= area && at.value < area + 8 * MiB) told.push_back(size);
  });
  const u64 before = host_bytes();
  std::vector<u32> pages;
  for (u32 i = 0; i < 1024; ++i) pages.push_back(static_cast<u32>(area / page_size) + 1023 - i);
  give(pages);
  ASSERT_TRUE(guest.finished(0));
  EXPECT_NEAR(static_cast<double>(before - host_bytes()), 4.0 * MiB, 8 * page_size);
  EXPECT_EQ(told, std::vector<u64>{4 * MiB}) << "neighbours go in one step, and engines hear of it";
  EXPECT_EQ(*memory->read_value<u8>(Gpa(area)), 0);
  EXPECT_EQ(*memory->read_value<u8>(Gpa(area + 4 * MiB)), 0xaa);
  give(pages, 1);
  ASSERT_TRUE(guest.finished(1));
  ASSERT_TRUE(memory->fill(Gpa(area), page_size, 0x55));
  EXPECT_EQ(*memory->read_value<u8>(Gpa(area)), 0x55);
}

TEST_P(BalloonTest, TheTargetReachesTheDriver) {
  guest.segment.irqs.messages.clear();
  ASSERT_TRUE(device().set_target(48 * MiB));
  EXPECT_EQ(guest.load(0x2000, 4), 16 * MiB / page_size);
  EXPECT_FALSE(guest.segment.irqs.messages.empty());
  guest.store(0x2004, 77, 4);
  EXPECT_EQ(device().inflated(), 77 * page_size);
  guest.store(0x2000, 5, 4);
  EXPECT_EQ(guest.load(0x2000, 4), 16 * MiB / page_size);
  EXPECT_FALSE(device().set_target(0));
  EXPECT_FALSE(device().set_target(testing::guest_ram + 1));
  const auto state = bus::testing::saved(*guest.pci);
  PciGuest other(*memory, std::make_unique<Balloon>("balloon0", *memory));
  guest.pci->pause();
  ASSERT_TRUE(bus::testing::restored(*other.pci, state));
  EXPECT_EQ(static_cast<Balloon&>(other.pci->device()).inflated(), 77 * page_size);
}

TEST_P(BalloonTest, Statistics) {
  const auto put = [&](unsigned index, u16 tag, u64 value) {
    (void)memory->write_value<u16>(Gpa(data_base + 10 * index), tag);
    (void)memory->write_value<u64>(Gpa(data_base + 10 * index + 2), value);
  };
  put(0, 4, 1234);
  put(1, 60000, 5);
  ASSERT_TRUE(guest.queues[2]->add({{data_base, 20}}));
  guest.kick(2);
  EXPECT_TRUE(testing::eventually([&] { return device().describe().find("free memory (bytes): 1234\n") != std::string::npos; }));
  ASSERT_TRUE(guest.finished(2)) << "asked for new ones";
  put(0, 4, 99);
  ASSERT_TRUE(guest.queues[2]->add({{data_base, 20}}));
  guest.kick(2);
  EXPECT_TRUE(testing::eventually([&] { return device().describe().find("free memory (bytes): 99\n") != std::string::npos; }));
}

TEST_P(BalloonTest, ReportedPages) {
  const u64 before = host_bytes();
  ASSERT_TRUE(guest.request(3, {{area, 2 * MiB, true}, {area + 4 * MiB + 100, 8192, true}}));
  EXPECT_EQ(before - host_bytes(), 2 * MiB + page_size);
  EXPECT_EQ(*memory->read_value<u8>(Gpa(area + 4 * MiB)), 0xaa);
}

TEST_P(BalloonTest, WithoutStatisticsReportsComeThroughTheThirdQueue) {
  guest.bring_up((GetParam() ? ~u64{0} : ~f_packed) & ~feature(1));
  const u64 before = host_bytes();
  ASSERT_TRUE(guest.request(2, {{area, 2 * MiB, true}}));
  EXPECT_EQ(before - host_bytes(), 2 * MiB);
}

TEST_P(BalloonTest, NonsenseBreaksIt) {
  give({static_cast<u32>(testing::guest_ram / page_size)});
  EXPECT_TRUE(testing::eventually([&] { return guest.status() & status::needs_reset; }));
  guest.bring_up(GetParam() ? ~u64{0} : ~f_packed);
  guest.queues[0]->add({{data_base, 128 * 1024}});
  guest.kick(0);
  EXPECT_TRUE(testing::eventually([&] { return guest.status() & status::needs_reset; }));
}

INSTANTIATE_TEST_SUITE_P(Rings, BalloonTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Balloon, OffersWhatItIsToldTo) {
  auto memory = *memory::GuestMemory::create(testing::guest_ram);
  PciGuest all(*memory, std::make_unique<Balloon>("balloon0", *memory));
  PciGuest less(*memory, std::make_unique<Balloon>("balloon0", *memory, BalloonOptions{false, false}));
  EXPECT_EQ(all.offered() & 0x3f, 0x26u);
  EXPECT_EQ(less.offered() & 0x3f, 0x02u);
}

TEST(Balloon, Contract) {
  testing::check_virtio_contract([](memory::GuestMemory& memory) { return std::make_unique<Balloon>("balloon0", memory); });
}

}  // namespace
}  // namespace nagaya::virtio
