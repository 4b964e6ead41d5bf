#include "virtio/queue.hpp"

#include <gtest/gtest.h>

#include <random>

#include "virtio/driver_test_util.hpp"

namespace nagaya::virtio {
namespace {

using testing::GuestBuffer;
using testing::ModelDriver;

struct Kind {
  bool packed, event_index;
  [[nodiscard]] RingFeatures features() const { return {packed, event_index, true}; }
};

class QueueTest : public ::testing::TestWithParam<Kind> {
 protected:
  static constexpr u64 rings = 0x100000, data = 0x800000, ram = 32 * MiB;
  void SetUp() override {
    memory = *memory::GuestMemory::create(ram);
    start(8);
  }
  void start(u16 size) {
    driver = std::make_unique<ModelDriver>(*memory, rings, size, GetParam().features());
    queue.reset();
    driver->set_up(queue);
    auto result = queue.enable(*memory, GetParam().features());
    ASSERT_TRUE(result) << result.error().message();
  }
  bool pop(Chain& chain) {
    auto popped = queue.pop(chain);
    EXPECT_TRUE(popped) << popped.error().message();
    return popped.value_or(false);
  }
  std::string refusal() {
    Chain chain;
    auto popped = queue.pop(chain);
    EXPECT_FALSE(popped) << "nonsense was taken";
    EXPECT_FALSE(*queue.pop(chain)) << "a broken queue goes on";
    EXPECT_FALSE(queue.wants_interrupt());
    EXPECT_FALSE(queue.enable_notifications());
    return popped ? "" : popped.error().why;
  }
  bool packed() const { return GetParam().packed; }
  /// One descriptor as the driver writes it, for nonsense.
  void raw(unsigned index, u64 address, u32 length, u16 flags, u16 other, u64 table = 0) {
    if (packed()) {
      driver->put_descriptor(table ? table : driver->descriptors, index, address, length, other,
                             static_cast<u16>(flags | (table ? 0 : 0x80)));
    } else {
      driver->put_descriptor(table ? table : driver->descriptors, index, address, length, flags, other);
    }
  }
  void offer(u16 head) {
    if (!packed()) driver->offer(head);
  }
  std::unique_ptr<memory::GuestMemory> memory;
  std::unique_ptr<ModelDriver> driver;
  Queue queue{256};
};

TEST_P(QueueTest, CarriesBytesBothWays) {
  ASSERT_TRUE(memory->write(Gpa(data), std::vector<u8>{1, 2, 3, 4, 5}));
  const auto id = driver->add({{data, 2}, {data + 2, 3}, {data + 0x100, 4, true}, {data + 0x200, 8, true}});
  Chain chain;
  ASSERT_TRUE(pop(chain));
  EXPECT_EQ(chain.id, *id);
  EXPECT_EQ(chain.readable_bytes, 5u);
  EXPECT_EQ(chain.writable_bytes, 12u);
  std::vector<u8> got(9);
  EXPECT_EQ(chain.read(1, got), 4u);
  EXPECT_EQ(got, (std::vector<u8>{2, 3, 4, 5, 0, 0, 0, 0, 0}));
  EXPECT_EQ(chain.write(2, std::vector<u8>{7, 8, 9}), 3u);
  EXPECT_EQ(driver->get<u32>(data + 0x100), 0x0807'0000u);
  EXPECT_EQ(driver->get<u8>(data + 0x200), 9);
  std::vector<iovec> runs;
  EXPECT_EQ(slice(chain.writable, 3, 100, runs), 9u);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].iov_len, 1u);
  EXPECT_EQ(runs[1].iov_len, 8u);
  EXPECT_FALSE(driver->take());
  queue.push(chain, 5);
  const auto used = driver->take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, *id);
  EXPECT_EQ(used->length, 5u);
  EXPECT_FALSE(pop(chain));
}

TEST_P(QueueTest, TellsOfEveryWriteToGuestMemory) {
  std::vector<std::pair<u64, u64>> writes;
  driver->add({{data, 16, true}});
  memory->on_write([&](Gpa gpa, u64 size) { writes.emplace_back(gpa.value, size); });
  Chain chain;
  ASSERT_TRUE(pop(chain));
  queue.push(chain, 10);
  memory->on_write({});
  EXPECT_EQ(writes.front(), (std::pair<u64, u64>{data, 10}));
  const u64 ring = packed() ? driver->descriptors : driver->device;
  for (auto it = writes.begin() + 1; it != writes.end(); ++it) EXPECT_TRUE(it->first >= ring && it->first < ring + 0x100);
  EXPECT_GE(writes.size(), 3u);
}

TEST_P(QueueTest, SeveralBecomeVisibleAtOnce) {
  driver->add({{data, 4, true}});
  driver->add({{data, 4, true}});
  Chain one, two;
  ASSERT_TRUE(pop(one));
  ASSERT_TRUE(pop(two));
  queue.stage(one, 1);
  queue.stage(two, 2);
  EXPECT_FALSE(driver->take());
  queue.publish();
  EXPECT_EQ(driver->take()->length, 1u);
  EXPECT_EQ(driver->take()->length, 2u);
}

// Random requests, completed out of order, through many turns of rings of several sizes, with saves between.
TEST_P(QueueTest, AgreesWithTheModel) {
  std::mt19937 random(7);
  for (u16 size : {1, 2, 8, 64, 256}) {
    start(size);
    std::map<u16, std::vector<GuestBuffer>> offered;
    std::vector<Chain> held;
    for (int step = 0; step < 6000; ++step) {
      const unsigned what = random() % 8;
      if (what < 3) {
        std::vector<GuestBuffer> buffers;
        const bool indirect = random() % 3 == 0;
        const unsigned most = indirect ? 20 : std::min<unsigned>(size, 5);
        const unsigned count = 1 + random() % most;
        const unsigned readable = random() % (count + 1);
        for (unsigned i = 0; i < count; ++i)
          buffers.push_back({data + random() % 0x100000, 1 + static_cast<u32>(random() % 5000), i >= readable});
        if (auto id = driver->add(buffers, indirect)) offered[*id] = buffers;
      } else if (what < 6) {
        Chain chain;
        if (!pop(chain)) continue;
        if (random() % 8 == 0) {
          queue.unpop(chain);
          ASSERT_TRUE(pop(chain));
        }
        const auto& buffers = offered.at(chain.id);
        ASSERT_EQ(chain.readable.size() + chain.writable.size(), buffers.size());
        for (std::size_t i = 0; i < buffers.size(); ++i) {
          const bool write = i >= chain.readable.size();
          const Segment& segment = write ? chain.writable[i - chain.readable.size()] : chain.readable[i];
          ASSERT_EQ(segment.gpa.value, buffers[i].gpa);
          ASSERT_EQ(segment.length, buffers[i].length);
          ASSERT_EQ(write, buffers[i].write);
        }
        held.push_back(chain);
      } else if (what == 6 && !held.empty()) {
        std::swap(held[random() % held.size()], held.back());
        const u64 written = random() % (held.back().writable_bytes + 1);
        queue.push(held.back(), written);
        const u16 id = held.back().id;
        held.pop_back();
        const auto used = driver->take();
        ASSERT_TRUE(used);
        ASSERT_EQ(used->id, id);
        ASSERT_EQ(used->length, written);
        offered.erase(id);
      } else if (held.empty()) {
        state::Writer out;
        queue.save(out);
        Queue other(256);
        state::Reader in("queue", 1, out.bytes());
        other.restore(in, *memory, GetParam().features());
        ASSERT_TRUE(in.finish());
        queue = std::move(other);
      }
      ASSERT_EQ(queue.in_flight(), held.size());
    }
  }
}

TEST_P(QueueTest, InterruptsAsAskedFor) {
  Chain chain;
  for (int i = 0; i < 50; ++i) {
    driver->want_interrupt(i % 2);
    driver->add({{data, 4, true}});
    ASSERT_TRUE(pop(chain));
    queue.push(chain, 0);
    EXPECT_EQ(queue.wants_interrupt(), i % 2 == 1) << i;
    EXPECT_FALSE(queue.wants_interrupt());
    ASSERT_TRUE(driver->take());
  }
  EXPECT_FALSE(queue.wants_interrupt());
}

TEST_P(QueueTest, NotificationsAsAskedFor) {
  Chain chain;
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(queue.enable_notifications());
    driver->add({{data, 4, true}});
    EXPECT_TRUE(driver->must_kick(1)) << i;
    EXPECT_TRUE(queue.has_work());
    queue.disable_notifications();
    ASSERT_TRUE(pop(chain));
    queue.push(chain, 0);
    ASSERT_TRUE(driver->take());
    driver->add({{data, 4, true}});
    if (!GetParam().event_index || packed()) {
      EXPECT_FALSE(driver->must_kick(1));
    }
    EXPECT_TRUE(queue.enable_notifications()) << "a request that came meanwhile is seen";
    ASSERT_TRUE(pop(chain));
    queue.push(chain, 0);
    ASSERT_TRUE(driver->take());
  }
}

TEST_P(QueueTest, BadBuffers) {
  struct Case {
    u64 address;
    u32 length;
    const char* what;
  };
  for (const Case& c : {Case{data, 0, "zero length"}, Case{ram, 16, "past the end"}, Case{ram - 8, 16, "over the end"},
                        Case{0xfee00000, 4, "MMIO"}, Case{~u64{0} - 3, 16, "wraps"}, Case{data, ~u32{0}, "huge"}}) {
    for (u16 flags : {u16{0}, u16{2}}) {
      start(8);
      raw(0, c.address, c.length, flags, 0);
      offer(0);
      EXPECT_NE(refusal(), "") << c.what;
    }
  }
}

TEST_P(QueueTest, BadChains) {
  // Readable behind writable.
  raw(0, data, 4, 1 | 2, packed() ? 0 : 1);
  raw(1, data, 4, 0, 0);
  offer(0);
  EXPECT_NE(refusal(), "");
  // A loop; in a packed ring, a chain that never ends.
  start(8);
  for (unsigned i = 0; i < 8; ++i) raw(i, data, 4, 1, static_cast<u16>(packed() ? 0 : (i + 1) % 8));
  offer(0);
  EXPECT_NE(refusal(), "");
  if (packed()) return;
  start(8);
  raw(0, data, 4, 1, 8);
  offer(0);
  EXPECT_EQ(refusal(), "descriptor 8 of 8");
  start(8);
  offer(9);
  EXPECT_EQ(refusal(), "descriptor 9 of 8");
  start(8);
  driver->put<u16>(driver->driver + 2, 9);
  EXPECT_EQ(refusal(), "9 requests offered in a ring of 8");
}

TEST_P(QueueTest, BadTables) {
  const u64 table = data + 0x1000;
  auto expect_refused = [&](u32 length, u16 flags = 4, u64 at = data + 0x1000) {
    raw(0, at, length, flags, 0);
    offer(0);
    EXPECT_NE(refusal(), "") << length;
    start(8);
    for (unsigned i = 0; i < 4; ++i) raw(i, data, 4, packed() ? 0 : 1, static_cast<u16>((i + 1) % 4), table);
  };
  expect_refused(0);
  expect_refused(15);
  expect_refused(17);
  expect_refused(~u32{15});
  expect_refused(16, 4 | 1);
  expect_refused(16, 4, ram);
  if (!packed()) expect_refused(64);      // a loop
  raw(3, data, 4, 4, 0, table);           // a table within a table
  expect_refused(64);
  for (unsigned i = 0; i < 1100; ++i) raw(i, data, 4, packed() ? 0 : 1, static_cast<u16>(i + 1), table);
  expect_refused(1100 * 16);
  for (unsigned i = 0; i < 5; ++i) raw(i, data, 0x1000000, packed() ? 0 : 1, static_cast<u16>(i + 1), table);
  raw(4, data, 4, 0, 0, table);
  raw(0, table, 5 * 16, 4, 0);
  offer(0);
  Chain chain;
  ASSERT_TRUE(pop(chain));
  EXPECT_EQ(chain.readable_bytes, 4u * 0x1000000 + 4);
  for (unsigned i = 0; i < 300; ++i) raw(i, data, 0x1000000, packed() ? 0 : 1, static_cast<u16>(i + 1), table);
  start(8);
  expect_refused(300 * 16);  // more than 4 GiB
}

TEST_P(QueueTest, IndirectOnlyWhenAgreed) {
  RingFeatures features = GetParam().features();
  features.indirect = false;
  queue.reset();
  driver->set_up(queue);
  ASSERT_TRUE(queue.enable(*memory, features));
  driver->add({{data, 4}}, true);
  EXPECT_EQ(refusal(), "indirect descriptors were not agreed upon");
}

TEST_P(QueueTest, OneRequestTwice) {
  Chain chain;
  if (packed()) {
    raw(0, data, 4, 0, 5);
    raw(1, data, 4, 0, 5);
  } else {
    raw(5, data, 4, 0, 0);
    offer(5);
    offer(5);
  }
  ASSERT_TRUE(pop(chain));
  EXPECT_EQ(refusal(), "request 5 is offered twice");
  queue.push(chain, 0);  // its owner may still give it back
  EXPECT_EQ(queue.in_flight(), 0u);
}

TEST_P(QueueTest, BadPlaces) {
  auto refused = [&](u64 descriptors, u64 driver_area, u64 device_area, u16 size = 8) {
    Queue fresh(256);
    fresh.set_size(size);
    fresh.set_descriptors(Gpa(descriptors));
    fresh.set_driver_area(Gpa(driver_area));
    fresh.set_device_area(Gpa(device_area));
    EXPECT_FALSE(fresh.enable(*memory, GetParam().features()));
    EXPECT_FALSE(fresh.enabled());
    Chain chain;
    EXPECT_FALSE(*fresh.pop(chain));
  };
  refused(0x1008, 0x2000, 0x3000);
  refused(0x1000, 0x2001, 0x3000);
  refused(0x1000, 0x2000, 0x3002);
  refused(ram - 64, 0x2000, 0x3000);
  refused(0x1000, ram, 0x3000);
  refused(0x1000, 0x2000, ~u64{3});
  refused(0x1000, 0x1040, 0x3000);
  refused(0x1000, 0x2000, 0x2000);
  refused(0x1000, 0x2000, 0x3000, 0);
  refused(0x1000, 0x2000, 0x3000, 512);
  if (!packed()) refused(0x1000, 0x2000, 0x3000, 7);
}

TEST_P(QueueTest, FixedWhileEnabled) {
  queue.set_size(4);
  queue.set_descriptors(Gpa(0));
  queue.set_driver_area(Gpa(0));
  queue.set_device_area(Gpa(0));
  EXPECT_EQ(queue.size(), 8);
  EXPECT_EQ(queue.descriptors().value, driver->descriptors);
  EXPECT_EQ(queue.driver_area().value, driver->driver);
  EXPECT_EQ(queue.device_area().value, driver->device);
}

// Rings full of noise: errors at most, and nothing taken stays outside of RAM.
TEST_P(QueueTest, NoiseInRings) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 400; ++round) {
    start(8);
    for (u64 at = 0; at < 8 * 16; at += 2) {
      const u16 values[] = {0, 1, 2, 4, 0x80, 0x8000, static_cast<u16>(random() % 16), static_cast<u16>(random())};
      driver->put<u16>(driver->descriptors + at, values[random() % 8]);
    }
    for (u64 at = 0; at < 24; at += 2) driver->put<u16>(driver->driver + at, static_cast<u16>(random() % 9));
    Chain chain;
    for (int i = 0; i < 20; ++i) {
      auto popped = queue.pop(chain);
      if (!popped || !*popped) break;
      for (const auto* list : {&chain.readable, &chain.writable}) {
        for (const Segment& s : *list) EXPECT_LE(s.gpa.value + s.length, ram);
      }
      if (random() % 2) queue.push(chain, random() % 100);
      (void)queue.wants_interrupt();
      (void)queue.enable_notifications();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rings, QueueTest,
                         ::testing::Values(Kind{false, false}, Kind{false, true}, Kind{true, false}, Kind{true, true}),
                         [](const auto& info) {
                           return std::string(info.param.packed ? "Packed" : "Split") +
                                  (info.param.event_index ? "EventIndex" : "Flags");
                         });

}  // namespace
}  // namespace nagaya::virtio
