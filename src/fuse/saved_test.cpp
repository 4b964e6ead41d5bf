#include <gtest/gtest.h>

#include <cerrno>

#include "fuse/client_test_util.hpp"

namespace nagaya::fuse {
namespace {

using testing::bytes;
using testing::Client;
using testing::Folder;
using testing::name;

constexpr u64 root = FUSE_ROOT_ID;

struct SavedServer : ::testing::Test {
  SavedServer() {
    std::filesystem::create_directories(folder.share("dir/inner"));
    Folder::write(folder.share("dir/inner/file"), "content");
    Folder::write(folder.share("gone"), "gone");
    node = client.node_of("dir/inner/file");
    gone = client.node_of("gone");
    handle = client.open(node, O_RDWR).as<fuse_open_out>().fh;
    gone_handle = client.open(gone, O_RDONLY).as<fuse_open_out>().fh;
    list_handle = client.call(FUSE_OPENDIR, root, bytes(fuse_open_in{})).as<fuse_open_out>().fh;
  }
  std::vector<u8> saved() {
    state::Writer out;
    server->save(out);
    return out.bytes();
  }
  static Result<> restore(Server& into, const std::vector<u8>& bytes) {
    state::Reader in("fs", 1, bytes);
    into.restore(in);
    return in.finish();
  }
  Folder folder;
  std::unique_ptr<Server> server = *Server::open({.path = folder.share()});
  Client client{*server};
  u64 node = 0, gone = 0, handle = 0, gone_handle = 0, list_handle = 0;
};

TEST_F(SavedServer, GoesOnWhereItWas) {
  // Renamed by the client: it is found where it is now.
  const u64 inner = client.node_of("dir/inner");
  ASSERT_EQ(client.rename(inner, "file", root, "moved").error, 0);
  const auto state = saved();
  auto other = *Server::open({.path = folder.share()});
  Client again(*other, false);
  ASSERT_TRUE(restore(*other, state));
  EXPECT_EQ(other->lost(), 0u);
  EXPECT_EQ(again.read(handle, 0, 100).body, "content");
  EXPECT_EQ(again.write(handle, 0, "CON").error, 0);
  EXPECT_EQ(Folder::read(folder.share("moved")), "CONtent");
  EXPECT_EQ(again.node_of("moved"), node);
  EXPECT_EQ(again.list(root, false).size(), 5u);
  fuse_read_in in{};
  in.fh = list_handle;
  in.size = 4096;
  EXPECT_FALSE(again.call(FUSE_READDIR, root, bytes(in)).body.empty());
  // Numbers given out from now on are new ones.
  EXPECT_GT(Client::handle_of_create(again.create(root, "x")), list_handle);
  EXPECT_EQ(saved(), state);
  // Look-ups count on.
  again.forget(node, 2);
  EXPECT_EQ(again.call(FUSE_GETATTR, node, bytes(fuse_getattr_in{})).error, ENOENT);
}

TEST_F(SavedServer, WhatIsGoneIsStale) {
  const auto state = saved();
  std::filesystem::remove(folder.share("gone"));
  auto other = *Server::open({.path = folder.share()});
  Client again(*other, false);
  ASSERT_TRUE(restore(*other, state));
  EXPECT_EQ(other->lost(), 2u);
  EXPECT_EQ(again.call(FUSE_GETATTR, gone, bytes(fuse_getattr_in{})).error, ESTALE);
  EXPECT_EQ(again.open(gone, O_RDONLY).error, ESTALE);
  EXPECT_EQ(again.read(gone_handle, 0, 10).error, ESTALE);
  EXPECT_EQ(again.read(handle, 0, 100).body, "content");
  fuse_release_in release{};
  release.fh = gone_handle;
  EXPECT_EQ(again.call(FUSE_RELEASE, gone, bytes(release)).error, 0);
  again.forget(gone);
}

TEST_F(SavedServer, AnotherFileOfTheSameNameIsNotTaken) {
  const auto state = saved();
  Folder::write(folder.share("new"), "other");
  std::filesystem::rename(folder.share("new"), folder.share("gone"));
  auto other = *Server::open({.path = folder.share()});
  Client again(*other, false);
  ASSERT_TRUE(restore(*other, state));
  EXPECT_EQ(again.read(gone_handle, 0, 10).error, ESTALE);
  EXPECT_EQ(again.lookup(root, "gone").error, 0);
}

TEST_F(SavedServer, WhatHasNoNameIsLost) {
  ASSERT_EQ(client.call(FUSE_UNLINK, root, name("gone")).error, 0);
  EXPECT_EQ(client.read(gone_handle, 0, 10).body, "gone");
  auto other = *Server::open({.path = folder.share()});
  Client again(*other, false);
  ASSERT_TRUE(restore(*other, saved()));
  EXPECT_EQ(again.read(gone_handle, 0, 10).error, ESTALE);
}

TEST_F(SavedServer, AnOpenFileOfAForgottenNodeIsNoObstacle) {
  client.forget(gone);
  auto other = *Server::open({.path = folder.share()});
  ASSERT_TRUE(restore(*other, saved()));
  Client again(*other, false);
  EXPECT_EQ(again.read(gone_handle, 0, 10).error, EBADF);
  EXPECT_EQ(again.read(handle, 0, 100).body, "content");
}

TEST_F(SavedServer, ACopiedFolderWorksByPath) {
  const auto state = saved();
  Folder copy;
  std::filesystem::copy(folder.share(), copy.share(), std::filesystem::copy_options::recursive);
  auto other = *Server::open({.path = copy.share()});
  Client again(*other, false);
  ASSERT_TRUE(restore(*other, state));
  EXPECT_EQ(other->lost(), 0u);
  EXPECT_EQ(again.write(handle, 0, "CON").error, 0);
  EXPECT_EQ(Folder::read(copy.share("dir/inner/file")), "CONtent");
  EXPECT_EQ(Folder::read(folder.share("dir/inner/file")), "content");
}

TEST_F(SavedServer, PathsInAFileLeadNowhereElse) {
  Folder victim;
  for (const std::string path : {"../outside", "/etc/passwd", "dir/../../outside", "dir//inner", "dir/", "."}) {
    state::Writer out;
    out.put(u64{0}), out.put(true), out.put(u64{0}), out.put(u64{0}), out.put(u64{10}), out.put(u64{1});
    out.put(u64{2}), out.put(u64{1}), out.put(u32{S_IFREG}), out.put(u64{0}), out.put(u64{0}), out.put(u64{0});
    out.put_string(path);
    out.put(u64{1}), out.put(u64{0});
    auto other = *Server::open({.path = victim.share()});
    EXPECT_FALSE(restore(*other, out.bytes())) << path;
  }
  // A link in the way is not followed.
  std::filesystem::create_directory_symlink("..", victim.share("up"));
  state::Writer out;
  out.put(u64{0}), out.put(true), out.put(u64{0}), out.put(u64{0}), out.put(u64{10}), out.put(u64{1});
  out.put(u64{2}), out.put(u64{1}), out.put(u32{S_IFREG}), out.put(u64{0}), out.put(u64{0}), out.put(u64{0});
  out.put_string("up/outside");
  out.put(u64{1}), out.put(u64{0});
  auto other = *Server::open({.path = victim.share()});
  ASSERT_TRUE(restore(*other, out.bytes()));
  Client again(*other, false);
  EXPECT_EQ(again.open(2, O_RDONLY).error, ESTALE);
}

TEST_F(SavedServer, DamagedStateIsAnError) {
  const auto state = saved();
  for (std::size_t size = 0; size < state.size(); size += 3) {
    auto other = *Server::open({.path = folder.share()});
    EXPECT_FALSE(restore(*other, {state.begin(), state.begin() + static_cast<std::ptrdiff_t>(size)})) << size;
  }
}

}  // namespace
}  // namespace nagaya::fuse
