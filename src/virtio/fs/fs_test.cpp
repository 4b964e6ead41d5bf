#include "virtio/fs/fs.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fuse/client_test_util.hpp"
#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using fuse::testing::bytes;
using fuse::testing::Folder;
using testing::data_base;
using testing::PciGuest;

constexpr u64 reply_base = data_base + MiB;

std::unique_ptr<Fs> make_fs(memory::GuestMemory& memory, const std::string& path, unsigned queues = 1) {
  return std::make_unique<Fs>("fs0", memory, *fuse::Server::open({.path = path}), FsConfig{.tag = "shared", .request_queues = queues});
}

struct FsTest : ::testing::TestWithParam<bool> {
  FsTest() { start(guest); }

  void start(PciGuest& which) const { which.bring_up(GetParam() ? ~u64{0} : ~f_packed); }
  static std::string header(u32 opcode, u64 node, std::size_t arguments) {
    fuse_in_header head{};
    head.len = static_cast<u32>(sizeof head + arguments);
    head.opcode = opcode;
    head.nodeid = node;
    head.unique = 77;
    return bytes(head);
  }
  void put(u64 at, const std::string& data) { (void)memory->write(Gpa(at), std::span(reinterpret_cast<const u8*>(data.data()), data.size())); }
  /// The reply's body, or nothing; `error` as the device told it.
  std::optional<std::string> call(PciGuest& which, u32 opcode, u64 node, const std::string& arguments, u32 room = 4096, unsigned queue = 1) {
    const std::string head = header(opcode, node, arguments.size());
    put(data_base, head);
    put(data_base + 4096, arguments);
    std::vector<testing::GuestBuffer> buffers = {{data_base, static_cast<u32>(head.size()), false}};
    if (!arguments.empty()) buffers.push_back({data_base + 4096, static_cast<u32>(arguments.size()), false});
    if (room != 0) {
      buffers.push_back({reply_base, 16, true});
      buffers.push_back({reply_base + 4096, room, true});
    }
    const auto length = which.request(queue, buffers);
    if (!length) return {};
    if (*length == 0) return std::string();
    const auto out = memory->read_value<fuse_out_header>(Gpa(reply_base));
    EXPECT_EQ(out->len, *length);
    EXPECT_EQ(out->unique, 77u);
    error = -out->error;
    std::string body(*length - 16, '\0');
    (void)memory->read(Gpa(reply_base + 4096), std::span(reinterpret_cast<u8*>(body.data()), body.size()));
    return body;
  }
  std::optional<std::string> init(PciGuest& which) {
    fuse_init_in in{};
    in.major = 7;
    in.minor = 38;
    in.flags = ~u32{0};
    return call(which, FUSE_INIT, 0, bytes(in));
  }
  template <class T>
  static T as(const std::optional<std::string>& body, std::size_t at = 0) {
    T value{};
    if (body && body->size() >= at + sizeof value) std::memcpy(&value, body->data() + at, sizeof value);
    return value;
  }

  Folder folder;
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  PciGuest guest{*memory, make_fs(*memory, folder.share())};
  int error = 0;
};

TEST_P(FsTest, TellsTagAndQueues) {
  EXPECT_EQ(guest.load(0x2000, 4), 0x72616873u);  // "shar"
  EXPECT_EQ(guest.load(0x2004, 4), 0x6465u);
  EXPECT_EQ(guest.load(0x2024, 4), 1u);
  EXPECT_EQ(guest.load(0x2028, 4), 0u);
  EXPECT_EQ(guest.queues.size(), 2u);
}

TEST_P(FsTest, ServesRequests) {
  EXPECT_EQ(as<fuse_init_out>(init(guest)).major, 7u);
  fuse_create_in create{};
  create.flags = O_RDWR;
  create.mode = S_IFREG | 0644;
  const auto made = call(guest, FUSE_CREATE, FUSE_ROOT_ID, bytes(create) + fuse::testing::name("file"));
  const u64 handle = as<fuse_open_out>(made, sizeof(fuse_entry_out)).fh;
  fuse_write_in write{};
  write.fh = handle;
  write.size = 3000;
  EXPECT_EQ(as<fuse_write_out>(call(guest, FUSE_WRITE, 0, bytes(write) + std::string(3000, 'w'))).size, 3000u);
  EXPECT_EQ(Folder::read(folder.share("file")), std::string(3000, 'w'));
  fuse_read_in read{};
  read.fh = handle;
  read.offset = 2990;
  read.size = 4096;
  EXPECT_EQ(call(guest, FUSE_READ, 0, bytes(read)), std::string(10, 'w'));
  EXPECT_EQ(call(guest, FUSE_LOOKUP, FUSE_ROOT_ID, fuse::testing::name("none")), "");
  EXPECT_EQ(error, ENOENT);
  // Forgotten nodes come by the urgent queue and have no reply.
  fuse_forget_in forget{};
  forget.nlookup = 1;
  EXPECT_EQ(call(guest, FUSE_FORGET, as<fuse_entry_out>(made).nodeid, bytes(forget), 0, 0), "");
  (void)call(guest, FUSE_GETATTR, as<fuse_entry_out>(made).nodeid, bytes(fuse_getattr_in{}));
  EXPECT_EQ(error, ENOENT);
}

TEST_P(FsTest, NonsenseAsksForAReset) {
  (void)init(guest);
  put(data_base, std::string(64, '\xff'));
  EXPECT_TRUE(guest.request(1, {{data_base, 64, false}, {reply_base, 64, true}}).has_value());
  EXPECT_TRUE(testing::eventually([&] { return (guest.status() & status::needs_reset) != 0; }));
  start(guest);
  (void)call(guest, FUSE_STATFS, FUSE_ROOT_ID, "");
  EXPECT_EQ(error, EIO);  // the reset forgot the session
  EXPECT_EQ(as<fuse_init_out>(init(guest)).major, 7u);
}

TEST_P(FsTest, NoRoomForAReplyIsNonsense) {
  (void)init(guest);
  (void)call(guest, FUSE_STATFS, FUSE_ROOT_ID, "", 0);
  EXPECT_TRUE(testing::eventually([&] { return (guest.status() & status::needs_reset) != 0; }));
}

TEST_P(FsTest, GoesOnAfterRestore) {
  (void)init(guest);
  Folder::write(folder.share("file"), "content");
  const u64 node = as<fuse_entry_out>(call(guest, FUSE_LOOKUP, FUSE_ROOT_ID, fuse::testing::name("file"))).nodeid;
  const u64 handle = as<fuse_open_out>(call(guest, FUSE_OPEN, node, bytes(fuse_open_in{}))).fh;
  const auto state = bus::testing::saved(*guest.pci);
  PciGuest other(*memory, make_fs(*memory, folder.share()));
  guest.pci->pause();
  ASSERT_TRUE(bus::testing::restored(*other.pci, state));
  other.queues = std::move(guest.queues);
  fuse_read_in read{};
  read.fh = handle;
  read.size = 100;
  EXPECT_EQ(call(other, FUSE_READ, node, bytes(read)), "content");
  EXPECT_EQ(error, 0);
}

TEST_P(FsTest, APausedDeviceTouchesNothing) {
  (void)init(guest);
  guest.pci->pause();
  put(data_base, header(FUSE_STATFS, FUSE_ROOT_ID, 0));
  guest.queues[1]->add({{data_base, 40, false}, {reply_base, 4096, true}});
  guest.kick(1);
  EXPECT_FALSE(guest.queues[1]->take());
  guest.pci->resume();
  EXPECT_EQ(guest.finished(1), 16 + sizeof(fuse_statfs_out));
}

INSTANTIATE_TEST_SUITE_P(Rings, FsTest, ::testing::Bool(), [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Fs, Contract) {
  Folder folder;
  testing::check_virtio_contract([&](memory::GuestMemory& memory) { return make_fs(memory, folder.share(), 2); });
}

}  // namespace
}  // namespace nagaya::virtio
