// What must not lead out of the shared folder, and what must not hold or exhaust the server.
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "fuse/client_test_util.hpp"

namespace nagaya::fuse {
namespace {

using testing::bytes;
using testing::Client;
using testing::Folder;
using testing::name;

constexpr u64 root = FUSE_ROOT_ID;

struct Confinement : ::testing::Test {
  Folder folder;
  std::unique_ptr<Server> server = *Server::open({.path = folder.share()});
  Client client{*server};
};

TEST_F(Confinement, NamesAreNamesOnly) {
  std::filesystem::create_directory(folder.share("dir"));
  for (const std::string text : {"", ".", "..", "../outside", "dir/..", "/", "/etc/passwd", "dir/"}) {
    EXPECT_EQ(client.lookup(root, text).error, EINVAL) << text;
    EXPECT_EQ(client.create(root, text).error, EINVAL) << text;
    EXPECT_EQ(client.mkdir(root, text).error, EINVAL) << text;
    EXPECT_EQ(client.mknod(root, text, S_IFREG | 0600).error, EINVAL) << text;
    EXPECT_EQ(client.call(FUSE_UNLINK, root, name(text)).error, EINVAL) << text;
    EXPECT_EQ(client.call(FUSE_RMDIR, root, name(text)).error, EINVAL) << text;
    EXPECT_EQ(client.rename(root, "dir", root, text).error, EINVAL) << text;
    EXPECT_EQ(client.rename(root, text, root, "x").error, EINVAL) << text;
    EXPECT_EQ(client.call(FUSE_SYMLINK, root, name(text) + name("x")).error, EINVAL) << text;
    EXPECT_EQ(client.call(FUSE_LINK, root, bytes(fuse_link_in{root}) + name(text)).error, EINVAL) << text;
  }
  EXPECT_EQ(client.lookup(root, std::string(256, 'n')).error, ENAMETOOLONG);
  EXPECT_EQ(client.lookup(root, std::string(255, 'n')).error, ENOENT);
  EXPECT_EQ(client.call(FUSE_LOOKUP, root, "no end").error, EINVAL);
  EXPECT_EQ(Folder::read(folder.outside()), "secret");
}

TEST_F(Confinement, LinksAreNeverFollowed) {
  std::filesystem::create_symlink(folder.outside(), folder.share("absolute"));
  std::filesystem::create_symlink("../outside", folder.share("relative"));
  std::filesystem::create_directory_symlink("..", folder.share("up"));
  for (const char* text : {"absolute", "relative", "up"}) {
    const auto entry = client.lookup(root, text).as<fuse_entry_out>();
    EXPECT_TRUE(S_ISLNK(entry.attr.mode)) << text;
    EXPECT_EQ(client.open(entry.nodeid, O_RDONLY).error, EACCES) << text;
    EXPECT_EQ(client.lookup(entry.nodeid, "outside").error, ENOTDIR) << text;
    EXPECT_EQ(client.call(FUSE_OPENDIR, entry.nodeid, bytes(fuse_open_in{})).error, ENOTDIR) << text;
    EXPECT_NE(client.create(root, text, O_RDWR).error, 0) << text;
    fuse_setattr_in in{};
    in.valid = FATTR_MODE;
    in.mode = 0777;
    EXPECT_EQ(client.setattr(entry.nodeid, in).error, EOPNOTSUPP) << text;
    in.valid = FATTR_SIZE;
    EXPECT_EQ(client.setattr(entry.nodeid, in).error, EINVAL) << text;
    in.valid = FATTR_MTIME;
    in.mtime = 1;
    EXPECT_EQ(client.setattr(entry.nodeid, in).error, 0) << text;  // of the link itself
    EXPECT_NE(client.setxattr(entry.nodeid, "user.x", "y").error, 0) << text;
  }
  struct stat host{};
  ASSERT_EQ(::stat(folder.outside().c_str(), &host), 0);
  EXPECT_NE(host.st_mtime, 1);
  EXPECT_NE(host.st_mode & 07777, 0777u);
  EXPECT_EQ(Folder::read(folder.outside()), "secret");
}

// A thread of the host exchanges folders and files for links that lead out, while the client works on these names.
TEST_F(Confinement, ARacingHostLeadsNowhere) {
  const std::string real = folder.share("real"), trap = folder.share("trap"), name_in_use = folder.share("name");
  std::filesystem::create_directory(real);
  Folder::write(real + "/outside", "inside");
  std::filesystem::create_directory_symlink("..", trap);
  std::filesystem::create_directory_symlink("..", folder.share("spare"));
  std::filesystem::rename(real, name_in_use);
  std::atomic<bool> end = false;
  std::thread racer([&] {
    while (!end) {
      ::renameat2(AT_FDCWD, name_in_use.c_str(), AT_FDCWD, trap.c_str(), RENAME_EXCHANGE);
    }
  });
  int reached = 0;
  for (int i = 0; i < 3000; ++i) {
    const u64 dir = client.lookup(root, "name").as<fuse_entry_out>().nodeid;
    const u64 file = client.lookup(dir, "outside").as<fuse_entry_out>().nodeid;
    if (file != 0) {
      const u64 handle = client.open(file, O_RDWR).as<fuse_open_out>().fh;
      EXPECT_EQ(client.read(handle, 0, 100).body, "inside");
      fuse_release_in release{};
      release.fh = handle;
      (void)client.call(FUSE_RELEASE, file, bytes(release));
      client.forget(file);
      ++reached;
    }
    const auto made = client.create(dir, "made", O_RDWR);
    if (made.error == 0) {
      fuse_release_in release{};
      release.fh = Client::handle_of_create(made);
      (void)client.call(FUSE_RELEASE, 0, bytes(release));
      client.forget(made.as<fuse_entry_out>().nodeid);
    }
    if (dir != 0) client.forget(dir);
  }
  end = true;
  racer.join();
  EXPECT_GT(reached, 0);
  EXPECT_FALSE(std::filesystem::exists(folder.base / "made"));
  EXPECT_EQ(Folder::read(folder.outside()), "secret");
}

TEST_F(Confinement, SpecialFilesAreNotOpenedOnTheHost) {
  EXPECT_EQ(client.mknod(root, "fifo", S_IFIFO | 0600).error, 0);
  EXPECT_EQ(client.mknod(root, "socket", S_IFSOCK | 0600).error, 0);
  for (const char* text : {"fifo", "socket"}) {
    const u64 node = client.node_of(text);
    for (u32 flags : {O_RDONLY, O_WRONLY, O_RDWR}) EXPECT_EQ(client.open(node, flags).error, EACCES) << text;  // and does not wait
    EXPECT_EQ(client.create(root, text, O_RDWR).error, EACCES) << text;
    EXPECT_EQ(client.call(FUSE_OPENDIR, node, bytes(fuse_open_in{})).error, ENOTDIR) << text;
    fuse_setattr_in in{};
    in.valid = FATTR_SIZE;
    EXPECT_EQ(client.setattr(node, in).error, EINVAL) << text;
  }
  EXPECT_EQ(client.mknod(root, "disk", S_IFBLK | 0600, 0x800).error, EPERM);
  EXPECT_EQ(client.mknod(root, "null", S_IFCHR | 0600, 0x103).error, EPERM);
  EXPECT_EQ(client.mknod(root, "odd", 0x9000 | 0600).error, EPERM);
  if (::geteuid() == 0 && ::mknod(folder.share("host-null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0) {
    const auto entry = client.lookup(root, "host-null").as<fuse_entry_out>();
    EXPECT_EQ(entry.attr.rdev, 0x103u);
    EXPECT_EQ(client.open(entry.nodeid, O_RDWR).error, EACCES);
  }
}

TEST(ConfinementOfProc, MagicLinksStayLinks) {
  auto server = Server::open({.path = "/proc/self"});
  ASSERT_TRUE(server) << server.error().message();
  Client client(**server);
  for (const char* text : {"root", "cwd", "exe"}) {
    const auto entry = client.lookup(root, text).as<fuse_entry_out>();
    EXPECT_TRUE(S_ISLNK(entry.attr.mode)) << text;
    EXPECT_EQ(client.lookup(entry.nodeid, "etc").error, ENOTDIR) << text;
    EXPECT_EQ(client.open(entry.nodeid, O_RDONLY).error, EACCES) << text;
  }
  const u64 fds = client.node_of("fd");
  ASSERT_NE(fds, 0u);
  const auto zero = client.lookup(fds, "0").as<fuse_entry_out>();
  if (zero.nodeid != 0) {
    EXPECT_TRUE(S_ISLNK(zero.attr.mode));
    EXPECT_EQ(client.open(zero.nodeid, O_RDONLY).error, EACCES);
  }
}

TEST(ConfinementOfDescriptors, RunningOutIsAnErrorAndPasses) {
  Folder folder;
  for (int i = 0; i < 40; ++i) Folder::write(folder.share("f" + std::to_string(i)), "x");
  auto server = *Server::open({.path = folder.share(), .descriptors = 20});
  Client client(*server);
  std::vector<u64> nodes;
  int refused = 0;
  for (int i = 0; i < 40; ++i) {
    const auto reply = client.lookup(root, "f" + std::to_string(i));
    if (reply.error == 0) {
      nodes.push_back(reply.as<fuse_entry_out>().nodeid);
    } else {
      EXPECT_EQ(reply.error, ENFILE);
      ++refused;
    }
  }
  EXPECT_EQ(nodes.size(), 20u);
  EXPECT_EQ(refused, 20);
  EXPECT_EQ(client.open(nodes[0], O_RDONLY).error, ENFILE);
  EXPECT_EQ(client.create(root, "new").error, ENFILE);
  EXPECT_FALSE(std::filesystem::exists(folder.share("new")));
  // A listing goes on without nodes.
  client.forget(nodes.back());
  const auto listed = client.list(root, true);
  EXPECT_EQ(listed.size(), 42u);
  for (u64 node : nodes) client.forget(node);
  for (const auto& [text, node] : listed) {
    if (node != 0) client.forget(node);
  }
  EXPECT_EQ(client.create(root, "new").error, 0);
}

TEST_F(Confinement, NonsenseIsRefused) {
  // No request at all.
  EXPECT_FALSE(client.raw("", 100));
  EXPECT_FALSE(client.raw(std::string(39, '\0'), 100));
  EXPECT_FALSE(client.raw(std::string(40, '\0'), 100));  // says that it is 0 bytes long
  fuse_in_header head{};
  head.len = 400;
  EXPECT_FALSE(client.raw(bytes(head), 100));
  head.len = sizeof head;
  head.opcode = FUSE_STATFS;
  head.nodeid = root;
  head.unique = ++client.unique;
  EXPECT_FALSE(client.raw(bytes(head), 0));
  EXPECT_FALSE(client.raw(bytes(head), 15));
  EXPECT_FALSE(client.raw(bytes(head), 16 + sizeof(fuse_statfs_out) - 1));
  EXPECT_TRUE(client.raw(bytes(head), 16 + sizeof(fuse_statfs_out)));
  // Every operation with arguments that are missing or absurd.
  Folder::write(folder.share("file"), "content");
  const u64 file = client.node_of("file");
  (void)client.open(file, O_RDWR);
  for (u32 opcode = 1; opcode < 60; ++opcode) {
    if (opcode == FUSE_INIT || opcode == FUSE_DESTROY) continue;
    for (u64 node : {u64{0}, root, file, ~u64{0}}) {
      for (std::size_t size : {0, 1, 8, 15, 24, 40, 300}) {
        for (char fill : {'\0', '\xff', '/'}) (void)client.call(opcode, node, std::string(size, fill), 4096);
      }
    }
  }
  EXPECT_EQ(client.call(FUSE_SYMLINK, root, std::string(200'000, 'x')).error, E2BIG);
  // A read that is larger than its room, a write that says more than it brings.
  const u64 handle = client.open(client.node_of("file"), O_RDWR).as<fuse_open_out>().fh;
  fuse_read_in read{};
  read.fh = handle;
  read.size = 4096;
  EXPECT_EQ(client.call(FUSE_READ, file, bytes(read), 100).error, EINVAL);
  read.size = 10;
  read.offset = ~u64{0} - 5;
  EXPECT_EQ(client.call(FUSE_READ, file, bytes(read)).error, EINVAL);
  fuse_write_in write{};
  write.fh = handle;
  write.size = 100;
  EXPECT_EQ(client.call(FUSE_WRITE, file, bytes(write) + "short").error, EINVAL);
  EXPECT_EQ(Folder::read(folder.outside()), "secret");
}

TEST_F(Confinement, SeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Client mine(*server, false);
      for (int i = 0; i < 300; ++i) {
        const std::string text = "t" + std::to_string(t) + "-" + std::to_string(i % 7), data(static_cast<std::size_t>(i) * 3 + 1, static_cast<char>('a' + t));
        const auto made = mine.create(root, text, O_RDWR);
        const u64 node = made.as<fuse_entry_out>().nodeid, handle = Client::handle_of_create(made);
        failures += made.error != 0;
        failures += mine.write(handle, 0, data).error != 0;
        failures += mine.read(handle, 0, static_cast<u32>(data.size())).body != data;
        failures += mine.rename(root, text, root, text + "-new").error != 0;
        failures += mine.call(FUSE_UNLINK, root, name(text + "-new")).error != 0;
        fuse_release_in release{};
        release.fh = handle;
        failures += mine.call(FUSE_RELEASE, node, bytes(release)).error != 0;
        mine.forget(node);
        for (const auto& [other, id] : mine.list(root, true)) {
          if (id != 0) mine.forget(id);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.share()));
}

}  // namespace
}  // namespace nagaya::fuse
