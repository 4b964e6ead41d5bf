#include "virtio/blk/blk.hpp"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

#include "bus/event_paths.hpp"
#include "host/fd.hpp"
#include "virtio/blk/layout.hpp"
#include "virtio/blk/memory_disk_test_util.hpp"
#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using namespace blk;
using testing::data_base;
using testing::MemoryDisk;
using testing::MemoryDiskState;
using testing::PciGuest;

constexpr u64 disk_size = 4 * MiB, status_at = data_base + 0x10'0000;

class BlkTest : public ::testing::TestWithParam<bool> {
 protected:
  void start(BlkConfig config = {}, u64 without = 0) {
    state->bytes.resize(disk_size);
    auto device = std::make_unique<Blk>("blk0", *memory, std::make_unique<MemoryDisk>(state), std::move(config));
    blk = device.get();
    guest = std::make_unique<PciGuest>(*memory, std::move(device));
    guest->bring_up((GetParam() ? ~u64{0} : ~f_packed) & ~without);
  }
  /// The status of one request; its header lies in front of the data.
  int request(u32 type, u64 sector, std::vector<testing::GuestBuffer> data = {}, unsigned queue = 0) {
    offer(type, sector, std::move(data), queue);
    guest->kick(queue);
    return guest->finished(queue) ? status() : -1;
  }
  void offer(u32 type, u64 sector, std::vector<testing::GuestBuffer> data = {}, unsigned queue = 0) {
    EXPECT_TRUE(memory->write_value(Gpa(data_base), Header{type, 0, sector}));
    EXPECT_TRUE(memory->write_value<u8>(Gpa(status_at), 0xee));
    data.insert(data.begin(), {data_base, 16});
    data.push_back({status_at, 1, true});
    EXPECT_TRUE(guest->queues[queue]->add(data, true));
  }
  int status() { return *memory->read_value<u8>(Gpa(status_at)); }
  int range(u32 type, u64 sector, u32 sectors, u32 flags) {
    EXPECT_TRUE(memory->write_value(Gpa(data_base + 64), Range{sector, sectors, flags}));
    return request(type, 0, {{data_base + 64, 16}});
  }
  u64 config(u64 at, unsigned size) { return guest->load(0x2000 + at, size); }
  unsigned count(block::Op op) {
    std::lock_guard lock(state->mutex);
    return state->count[op];
  }

  std::shared_ptr<MemoryDiskState> state = std::make_shared<MemoryDiskState>();
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  std::unique_ptr<PciGuest> guest;
  Blk* blk = nullptr;
};

TEST_P(BlkTest, WritesAndReadsBack) {
  start();
  std::mt19937 random(1);
  std::vector<u8> pattern(64 * KiB), back(64 * KiB);
  for (u8& byte : pattern) byte = static_cast<u8>(random());
  ASSERT_TRUE(memory->write(Gpa(data_base + 0x1000), pattern));
  EXPECT_EQ(request(type_out, 8, {{data_base + 0x1000, 1000}, {data_base + 0x1000 + 1000, 64 * KiB - 1000}}), 0);
  EXPECT_TRUE(std::equal(pattern.begin(), pattern.end(), state->bytes.begin() + 8 * 512));
  EXPECT_EQ(request(type_in, 8, {{data_base + 0x4'0000, 3, true}, {data_base + 0x5'0000, 64 * KiB - 3, true}}), 0);
  ASSERT_TRUE(memory->read(Gpa(data_base + 0x4'0000), std::span(back).first(3)));
  ASSERT_TRUE(memory->read(Gpa(data_base + 0x5'0000), std::span(back).subspan(3)));
  EXPECT_EQ(back, pattern);
  EXPECT_EQ(request(type_flush, 0), 0);
  EXPECT_EQ(count(block::Op::flush), 1u);
  EXPECT_EQ(state->fua, 0u);
}

TEST_P(BlkTest, OutsideOrOddIsAnError) {
  start();
  const u64 end = disk_size / 512;
  EXPECT_EQ(request(type_in, end, {{data_base + 512, 512, true}}), 1);
  EXPECT_EQ(request(type_in, end - 1, {{data_base + 512, 1024, true}}), 1);
  EXPECT_EQ(request(type_in, ~u64{0}, {{data_base + 512, 512, true}}), 1);
  EXPECT_EQ(request(type_in, u64{1} << 55, {{data_base + 512, 512, true}}), 1);
  EXPECT_EQ(request(type_in, 0, {{data_base + 512, 511, true}}), 1);
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 513}}), 1);
  EXPECT_EQ(request(77, 0), 2);
  EXPECT_EQ(range(type_discard, end - 1, 2, 0), 1);
  EXPECT_EQ(range(type_discard, 0, ~u32{0}, 0), 1);
  EXPECT_EQ(range(type_discard, 0, 8, 1), 2);
  EXPECT_EQ(range(type_write_zeroes, 0, 8, 2), 2);
  EXPECT_EQ(request(type_discard, 0, {{data_base + 64, 15}}), 1);
  EXPECT_EQ(request(type_in, end - 1, {{data_base + 512, 512, true}}), 0);
  EXPECT_EQ(count(block::Op::read), 1u);
}

TEST_P(BlkTest, DiscardAndZeroes) {
  state->bytes.assign(disk_size, 0xaa);
  start();
  EXPECT_EQ(range(type_write_zeroes, 1, 2, 1), 0);
  EXPECT_EQ(range(type_discard, 5, 1, 0), 0);
  EXPECT_EQ(state->unmap, 1u);
  EXPECT_EQ(state->bytes[511], 0xaa);
  EXPECT_EQ(state->bytes[512], 0);
  EXPECT_EQ(state->bytes[1535], 0);
  EXPECT_EQ(state->bytes[1536], 0xaa);
  EXPECT_EQ(state->bytes[5 * 512], 0);
  EXPECT_EQ(config(at_max_discard_segments, 4), 1u);
}

TEST_P(BlkTest, SerialAndConfiguration) {
  start({.queues = 4, .serial = "a serial number that is too long"});
  EXPECT_EQ(request(type_get_id, 0, {{data_base + 512, 20, true}}), 0);
  std::array<u8, 20> id;
  ASSERT_TRUE(memory->read(Gpa(data_base + 512), id));
  EXPECT_EQ(std::string(id.begin(), id.end()), "a serial number that");
  EXPECT_EQ(config(at_capacity, 8), disk_size / 512);
  EXPECT_EQ(config(at_queues, 2), 4u);
  EXPECT_EQ(config(at_seg_max, 4), 254u);
  EXPECT_EQ(config(at_block_size, 4), 512u);
  EXPECT_EQ(config(0x800, 4), 0u);
  for (unsigned q = 0; q < 4; ++q) EXPECT_EQ(request(type_in, q, {{data_base + 512, 512, true}}, q), 0);
}

TEST_P(BlkTest, WithoutFlushesWritesAreStable) {
  start({}, f_flush);
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 512}}), 0);
  EXPECT_EQ(state->fua, 1u);
}

TEST_P(BlkTest, TheCacheIsTurnedOff) {
  start();
  EXPECT_EQ(config(at_write_back, 1), 1u);
  guest->store(0x2000 + at_write_back, 0, 1);
  EXPECT_EQ(config(at_write_back, 1), 0u);
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 512}}), 0);
  EXPECT_EQ(state->fua, 1u);
}

TEST_P(BlkTest, ReadOnly) {
  state->can = {.read_only = true, .discard = true, .write_zeroes = true};
  start();
  EXPECT_TRUE(guest->offered() & f_read_only);
  EXPECT_FALSE(guest->offered() & (f_discard | f_write_zeroes));
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 512}}), 1);
  EXPECT_EQ(range(type_discard, 0, 1, 0), 2);
  EXPECT_EQ(request(type_in, 0, {{data_base + 512, 512, true}}), 0);
}

TEST_P(BlkTest, ResizeIsTold) {
  start();
  const u64 before = guest->load(0x15, 1);
  guest->segment.irqs.messages.clear();
  ASSERT_TRUE(blk->resize(8 * MiB));
  EXPECT_EQ(config(at_capacity, 8), 8 * MiB / 512);
  EXPECT_NE(guest->load(0x15, 1), before);
  ASSERT_EQ(guest->segment.irqs.messages.size(), 1u);
  EXPECT_EQ(guest->segment.irqs.messages[0].data, 0x41u);
  EXPECT_EQ(request(type_in, 8 * MiB / 512 - 1, {{data_base + 512, 512, true}}), 0);
}

TEST_P(BlkTest, ErrorsOfTheDisk) {
  start();
  state->fail_with = EIO;
  EXPECT_EQ(request(type_in, 0, {{data_base + 512, 512, true}}), 1);
  EXPECT_EQ(request(type_flush, 0), 1);
  state->fail_with = ENOSPC;  // nobody waits for space here
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 512}}), 1);
  state->fail_with = 0;
  EXPECT_EQ(request(type_out, 0, {{data_base + 512, 512}}), 0);
}

TEST_P(BlkTest, NoSpaceHoldsRequestsUntilResumed) {
  std::atomic<unsigned> told = 0;
  start({.out_of_space = [&] { ++told; }});
  ASSERT_TRUE(memory->write_value<u64>(Gpa(data_base + 512), 0x1234));
  state->fail_with = ENOSPC;
  offer(type_out, 3, {{data_base + 512, 512}});
  guest->kick(0);
  ASSERT_TRUE(testing::eventually([&] { return told == 1; }));
  guest->pci->pause();
  EXPECT_FALSE(guest->queues[0]->take());
  // It survives a save, into another device on the same memory and disk.
  state::Writer out;
  guest->pci->save(out);
  PciGuest other(*memory, std::make_unique<Blk>("blk0", *memory, std::make_unique<MemoryDisk>(state), BlkConfig{.out_of_space = [] {}}));
  state->fail_with = 0;
  ASSERT_TRUE(bus::testing::restored(*other.pci, out.bytes()));
  ASSERT_TRUE(guest->finished(0));
  EXPECT_EQ(status(), 0);
  EXPECT_EQ(state->bytes[3 * 512], 0x34);
  // The first one, reset, forgets what it held.
  guest->set_status(0);
  guest->pci->resume();
  guest->bring_up();
  EXPECT_EQ(request(type_in, 0, {{data_base + 512, 512, true}}), 0);
}

TEST_P(BlkTest, ManyAtOnceOutOfOrder) {
  start({.queues = 2});
  for (u64 i = 0; i < disk_size / 512; ++i) std::memcpy(&state->bytes[i * 512], &i, 8);
  for (int round = 0; round < 100; ++round) {
    for (unsigned i = 0; i < 12; ++i) {
      const u64 at = data_base + 0x2000 * i, sector = (round * 97 + i * 31) % 8000;
      ASSERT_TRUE(memory->write_value(Gpa(at), Header{type_in, 0, sector}));
      ASSERT_TRUE(guest->queues[i % 2]->add({{at, 16}, {at + 512, 512, true}, {at + 2048, 1, true}}, true));
    }
    guest->kick(0);
    guest->kick(1);
    for (unsigned i = 0; i < 12; ++i) ASSERT_EQ(guest->finished(i % 2), 513u);
    for (unsigned i = 0; i < 12; ++i) {
      EXPECT_EQ(*memory->read_value<u64>(Gpa(data_base + 0x2000 * i + 512)), (round * 97 + i * 31) % 8000u);
    }
    if (round % 10 == 0) (void)bus::testing::saved(*guest->pci);
  }
}

TEST_P(BlkTest, AResetInTheMiddleOfWork) {
  start();
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 8; ++i) offer(type_in, 0, {{data_base + 512, 64 * KiB, true}});
    guest->kick(0);
    guest->set_status(0);
    // Nothing may arrive any more.
    ASSERT_TRUE(memory->fill(Gpa(data_base + 512), 64 * KiB, 0x5c));
    std::this_thread::yield();
    EXPECT_EQ(*memory->read_value<u8>(Gpa(data_base + 4096)), 0x5c);
    guest->bring_up(GetParam() ? ~u64{0} : ~f_packed);
  }
}

TEST_P(BlkTest, NoRoomForAStatusBreaksIt) {
  start();
  guest->queues[0]->add({{data_base, 16}});
  guest->kick(0);
  EXPECT_TRUE(testing::eventually([&] { return guest->status() & status::needs_reset; }));
  start();
  guest->queues[0]->add({{data_base, 15}, {status_at, 1, true}});
  guest->kick(0);
  EXPECT_TRUE(testing::eventually([&] { return guest->status() & status::needs_reset; }));
}

INSTANTIATE_TEST_SUITE_P(Rings, BlkTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

/// An engine's side of event paths that remembers what it was told.
struct RecordingPaths final : bus::EventPaths {
  Result<> add_notification(u64 address, int eventfd) override {
    std::lock_guard lock(mutex);
    notifications.insert({address, eventfd});
    return {};
  }
  void remove_notification(u64 address, int eventfd) override {
    std::lock_guard lock(mutex);
    EXPECT_EQ(notifications.erase({address, eventfd}), 1u);
  }
  Result<> set_message(int eventfd, u64 address, u32 data) override {
    std::lock_guard lock(mutex);
    if (refuse) return fail("no");
    messages[eventfd] = {address, data};
    return {};
  }
  void remove_message(int eventfd) override {
    std::lock_guard lock(mutex);
    messages.erase(eventfd);
  }
  std::optional<int> event_of(u32 data) {
    std::lock_guard lock(mutex);
    for (const auto& [event, message] : messages) {
      if (message.second == data) return event;
    }
    return {};
  }
  std::mutex mutex;
  bool refuse = false;
  std::set<std::pair<u64, int>> notifications;
  std::map<int, std::pair<u64, u32>> messages;
};

struct EventPathsTest : ::testing::Test {
  void start() {
    state->bytes.resize(disk_size);
    guest = std::make_unique<PciGuest>(*memory, std::make_unique<Blk>("blk0", *memory, std::make_unique<MemoryDisk>(state), BlkConfig{.queues = 2}), &paths);
    guest->bring_up();
  }
  void offer(unsigned queue) {
    ASSERT_TRUE(memory->write_value(Gpa(data_base), Header{type_flush, 0, 0}));
    ASSERT_TRUE(guest->queues[queue]->add({{data_base, 16}, {status_at, 1, true}}, true));
  }
  RecordingPaths paths;
  std::shared_ptr<MemoryDiskState> state = std::make_shared<MemoryDiskState>();
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  std::unique_ptr<PciGuest> guest;
};

TEST_F(EventPathsTest, NotificationsComeByEventfdWhereTheBarIs) {
  start();
  ASSERT_EQ(paths.notifications.size(), 2u);
  EXPECT_EQ(paths.notifications.begin()->first, PciGuest::bar + 0x4000);
  offer(1);
  host::signal_eventfd(paths.notifications.begin()->second);
  EXPECT_EQ(guest->finished(1), 1u);
  // The BAR moves, then goes.
  guest->segment.write(0x10, 0xd000'0000);
  ASSERT_EQ(paths.notifications.size(), 2u);
  EXPECT_EQ(paths.notifications.begin()->first, 0xd000'4000u);
  guest->segment.write(0x04, 4, 2);
  EXPECT_TRUE(paths.notifications.empty());
  // A stray signal to a device that was reset does nothing.
  guest->pci->reset();
  guest.reset();
  EXPECT_TRUE(paths.notifications.empty());
  EXPECT_TRUE(paths.messages.empty());
}

TEST_F(EventPathsTest, InterruptsGoByEventfdUnlessMasked) {
  start();
  ASSERT_EQ(paths.messages.size(), 3u);  // two queues, configuration
  const auto raised = [&](unsigned queue) {
    offer(queue);
    guest->kick(queue);
    EXPECT_EQ(guest->finished(queue), 1u);
  };
  const int event = *paths.event_of(0x41);
  raised(1);
  EXPECT_TRUE(testing::eventually([&] { return host::drain_eventfd(event) > 0; }));
  EXPECT_TRUE(guest->segment.irqs.messages.empty());
  // Masked: it becomes pending; unmasked, what was pending comes as a message, what follows by eventfd again.
  guest->store(0x300c + 16, 1, 4);
  EXPECT_FALSE(paths.event_of(0x41));
  raised(1);
  EXPECT_TRUE(testing::eventually([&] { return guest->load(0x3800, 8) == 2; }));
  guest->store(0x300c + 16, 0, 4);
  EXPECT_EQ(guest->segment.irqs.messages.size(), 1u);
  ASSERT_TRUE(paths.event_of(0x41));
  raised(1);
  EXPECT_TRUE(testing::eventually([&] { return host::drain_eventfd(*paths.event_of(0x41)) > 0; }));
  // Another message of the same vector.
  guest->store(0x3008 + 16, 0x77, 4);
  EXPECT_TRUE(paths.event_of(0x77));
}

TEST_F(EventPathsTest, RefusedOnesGoTheOrdinaryWay) {
  paths.refuse = true;
  start();
  offer(0);
  guest->kick(0);
  EXPECT_EQ(guest->finished(0), 1u);
  guest->pci->pause();
  EXPECT_EQ(guest->segment.irqs.messages.size(), 1u);
}

TEST(Blk, Contract) {
  testing::check_virtio_contract([](memory::GuestMemory& memory) {
    auto state = std::make_shared<MemoryDiskState>();
    state->bytes.resize(64 * KiB);
    return std::make_unique<Blk>("blk0", memory, std::make_unique<MemoryDisk>(state), BlkConfig{.queues = 2, .queue_size = 16});
  });
}

}  // namespace
}  // namespace nagaya::virtio
