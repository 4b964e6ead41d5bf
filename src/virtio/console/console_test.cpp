#include "virtio/console/console.hpp"

#include <gtest/gtest.h>

#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using testing::data_base;
using testing::PciGuest;

/// A back end with as much room as the test gives it.
class FakeBackend final : public devices::CharBackend {
 public:
  std::size_t write(std::span<const u8> data) override {
    std::lock_guard lock(mutex);
    const std::size_t n = std::min(room, data.size());
    text.append(reinterpret_cast<const char*>(data.data()), n);
    room -= n;
    return n;
  }
  void attach(devices::CharReceiver* to) override { receiver = to; }
  void input_room() override { ++rooms; }
  void drain(unsigned) override {}
  [[nodiscard]] std::string where() const override { return ""; }
  std::string seen() {
    std::lock_guard lock(mutex);
    return text;
  }
  std::size_t type(std::string_view keys) {
    return receiver->input(std::span(reinterpret_cast<const u8*>(keys.data()), keys.size()));
  }
  std::mutex mutex;
  std::string text;
  std::size_t room = 1 << 20;
  devices::CharReceiver* receiver = nullptr;
  std::atomic<unsigned> rooms = 0;
};

class ConsoleTest : public ::testing::TestWithParam<bool> {
 protected:
  void start(u64 without = 0) { guest.bring_up((GetParam() ? ~u64{0} : ~f_packed) & ~without); }
  void send_control(u32 port, u16 event, u16 value) {
    guest.queues[3]->put<u32>(data_base, port);
    guest.queues[3]->put<u16>(data_base + 4, event);
    guest.queues[3]->put<u16>(data_base + 6, value);
    ASSERT_TRUE(guest.request(3, {{data_base, 8}}));
  }
  /// The next control message as "port event value text".
  std::string control() {
    auto length = guest.request(2, {{data_base + 0x100, 64, true}});
    if (!length) return "none";
    std::vector<u8> m(*length);
    EXPECT_TRUE(memory->read(Gpa(data_base + 0x100), m));
    return fmt::format("{} {} {} {}", m[0], m[4], m[6], std::string(m.begin() + 8, m.end()));
  }
  void write(unsigned queue, std::string_view text) {
    ASSERT_TRUE(memory->write(Gpa(data_base + 0x1000), std::span(reinterpret_cast<const u8*>(text.data()), text.size())));
    ASSERT_TRUE(guest.queues[queue]->add({{data_base + 0x1000, static_cast<u32>(text.size())}}));
    guest.kick(queue);
  }
  std::string input_at(u64 at, u32 length) {
    std::string out(length, 0);
    EXPECT_TRUE(memory->read(Gpa(at), std::span(reinterpret_cast<u8*>(out.data()), length)));
    return out;
  }
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  FakeBackend terminal, agent;
  PciGuest guest{*memory, std::make_unique<Console>("console0", *memory,
                                                    std::vector<ConsolePort>{{"", true, &terminal}, {"org.agent", false, &agent}})};
};

TEST_P(ConsoleTest, PortsIntroduceThemselves) {
  start();
  EXPECT_EQ(guest.load(0x2004, 4), 2u);
  send_control(~0u, 0, 1);
  EXPECT_EQ(control(), "0 1 1 ");
  EXPECT_EQ(control(), "1 1 1 ");
  send_control(0, 3, 1);
  EXPECT_EQ(control(), "0 4 1 ");
  EXPECT_EQ(control(), "0 6 1 ");
  send_control(1, 3, 1);
  EXPECT_EQ(control(), "1 7 1 org.agent");
  agent.receiver->connected(true);
  EXPECT_EQ(control(), "1 6 1 ");
  agent.receiver->connected(false);
  EXPECT_EQ(control(), "1 6 0 ");
  send_control(77, 3, 1);
  send_control(1, 99, 1);
}

TEST_P(ConsoleTest, BytesBothWays) {
  start();
  EXPECT_EQ(agent.type("early"), 0u) << "nobody has opened the port";
  send_control(1, 6, 1);
  EXPECT_EQ(agent.rooms, 1u);
  write(5, "to the agent");
  ASSERT_TRUE(guest.finished(5));
  EXPECT_EQ(agent.seen(), "to the agent");
  guest.queues[4]->add({{data_base + 0x2000, 3, true}});
  guest.queues[4]->add({{data_base + 0x3000, 100, true}});
  EXPECT_EQ(agent.type("hello"), 5u);
  EXPECT_EQ(guest.finished(4), 3u);
  EXPECT_EQ(guest.finished(4), 2u);
  EXPECT_EQ(input_at(data_base + 0x2000, 3) + input_at(data_base + 0x3000, 2), "hello");
  EXPECT_EQ(agent.type("more"), 0u);
  guest.queues[4]->add({{data_base + 0x3000, 100, true}});
  guest.kick(4);
  EXPECT_TRUE(testing::eventually([&] { return agent.rooms == 2; }));
  EXPECT_EQ(agent.type("more"), 4u);
}

TEST_P(ConsoleTest, WithoutMultiport) {
  start(feature(1));
  write(1, "plain");
  ASSERT_TRUE(guest.finished(1));
  EXPECT_EQ(terminal.seen(), "plain");
  guest.queues[0]->add({{data_base + 0x2000, 10, true}});
  EXPECT_EQ(terminal.type("key"), 3u);
  EXPECT_EQ(guest.finished(0), 3u);
  EXPECT_EQ(agent.type("key"), 0u);
}

TEST_P(ConsoleTest, ASlowReaderHoldsTheGuestBack) {
  terminal.room = 4;
  start();
  write(1, "0123456789");
  ASSERT_TRUE(testing::eventually([&] { return terminal.seen() == "0123"; }));
  const auto state = bus::testing::saved(*guest.pci);
  EXPECT_FALSE(guest.queues[1]->take());
  {
    std::lock_guard lock(terminal.mutex);
    terminal.room = 100;
  }
  terminal.receiver->output_room();
  ASSERT_TRUE(guest.finished(1));
  EXPECT_EQ(terminal.seen(), "0123456789");
}

TEST_P(ConsoleTest, Resize) {
  start();
  guest.segment.irqs.messages.clear();
  static_cast<Console&>(guest.pci->device()).resize(0, 80, 25);
  EXPECT_EQ(guest.load(0x2000, 2), 80u);
  EXPECT_EQ(guest.load(0x2002, 2), 25u);
  EXPECT_FALSE(guest.segment.irqs.messages.empty());
  send_control(0, 3, 1);
  EXPECT_EQ(control(), "0 4 1 ");
  EXPECT_EQ(control(), std::string("0 5 0 \x50\0\x19\0", 10));
}

INSTANTIATE_TEST_SUITE_P(Rings, ConsoleTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Console, Contract) {
  FakeBackend backend;
  testing::check_virtio_contract([&](memory::GuestMemory& memory) {
    return std::make_unique<Console>("console0", memory,
                                     std::vector<ConsolePort>{{"", true, nullptr}, {"x", false, nullptr}, {"y", true, nullptr}});
  });
}

}  // namespace
}  // namespace nagaya::virtio
