#include "fuse/server.hpp"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "fuse/client_test_util.hpp"

namespace nagaya::fuse {
namespace {

using testing::bytes;
using testing::Client;
using testing::Folder;
using testing::name;

constexpr u64 root = FUSE_ROOT_ID;

struct FuseServer : ::testing::Test {
  explicit FuseServer(bool read_only = false) : server(*Server::open({.path = folder.share(), .read_only = read_only})), client(*server) {}
  Folder folder;
  std::unique_ptr<Server> server;
  Client client;
};

TEST_F(FuseServer, InitAgreesOnWhatBothKnow) {
  const auto reply = client.init(FUSE_ASYNC_READ | FUSE_WRITEBACK_CACHE | FUSE_MAX_PAGES | FUSE_POSIX_LOCKS);
  EXPECT_EQ(reply.error, 0);
  const auto out = reply.as<fuse_init_out>();
  EXPECT_EQ(out.major, 7u);
  EXPECT_EQ(out.flags, FUSE_ASYNC_READ | FUSE_MAX_PAGES);
  EXPECT_EQ(out.max_write, u32{MiB});
  fuse_init_in in{};
  in.major = 7;
  in.minor = 26;
  EXPECT_EQ(client.call(FUSE_INIT, 0, bytes(in)).error, EPROTO);
  in.major = 8;
  EXPECT_EQ(client.call(FUSE_INIT, 0, bytes(in)).as<fuse_init_out>().major, 7u);
}

TEST_F(FuseServer, NothingBeforeInit) {
  server->reset();
  EXPECT_EQ(client.lookup(root, "x").error, EIO);
  EXPECT_EQ(client.call(FUSE_STATFS, root, "").error, EIO);
  client.init();
  EXPECT_EQ(client.lookup(root, "x").error, ENOENT);
  EXPECT_EQ(client.call(FUSE_DESTROY, 0, "").error, 0);
  EXPECT_EQ(client.lookup(root, "x").error, EIO);
}

TEST_F(FuseServer, LookUpTellsTheInode) {
  Folder::write(folder.share("file"), "hello");
  const auto entry = client.lookup(root, "file").as<fuse_entry_out>();
  struct stat host{};
  ASSERT_EQ(::stat(folder.share("file").c_str(), &host), 0);
  EXPECT_EQ(entry.attr.ino, host.st_ino);
  EXPECT_EQ(entry.attr.size, 5u);
  EXPECT_EQ(entry.attr.mode, host.st_mode);
  EXPECT_EQ(entry.attr.uid, host.st_uid);
  EXPECT_GT(entry.nodeid, root);
  EXPECT_EQ(client.lookup(root, "file").as<fuse_entry_out>().nodeid, entry.nodeid);
  EXPECT_EQ(client.lookup(entry.nodeid, "x").error, ENOTDIR);
  EXPECT_EQ(client.lookup(4711, "x").error, ENOENT);
  // Two look-ups take two to forget.
  client.forget(entry.nodeid);
  EXPECT_EQ(client.call(FUSE_GETATTR, entry.nodeid, bytes(fuse_getattr_in{})).error, 0);
  client.forget(entry.nodeid);
  EXPECT_EQ(client.call(FUSE_GETATTR, entry.nodeid, bytes(fuse_getattr_in{})).error, ENOENT);
  client.forget(root, 1000);
  EXPECT_EQ(client.lookup(root, "file").error, 0);
}

TEST_F(FuseServer, SeveralAreForgottenAtOnce) {
  std::string list;
  std::vector<u64> nodes;
  for (const char* text : {"a", "b", "c"}) {
    Folder::write(folder.share(text), text);
    nodes.push_back(client.node_of(text));
    list += bytes(fuse_forget_one{nodes.back(), 1});
  }
  EXPECT_FALSE(client.call(FUSE_BATCH_FORGET, 0, bytes(fuse_batch_forget_in{1000, 0}) + list).any);
  for (u64 node : nodes) EXPECT_EQ(client.call(FUSE_GETATTR, node, bytes(fuse_getattr_in{})).error, ENOENT);
}

TEST_F(FuseServer, FilesAreMadeWrittenAndRead) {
  const auto made = client.create(root, "file", O_RDWR, 0640);
  ASSERT_EQ(made.error, 0);
  const u64 handle = Client::handle_of_create(made), node = made.as<fuse_entry_out>().nodeid;
  const std::string data(5000, 'q');
  EXPECT_EQ(client.write(handle, 3, data).as<fuse_write_out>().size, 5000u);
  EXPECT_EQ(Folder::read(folder.share("file")), std::string(3, '\0') + data);
  EXPECT_EQ(client.read(handle, 1, 10).body, std::string(2, '\0') + std::string(8, 'q'));
  EXPECT_EQ(client.read(handle, 5000, 4096).body, "qqq");
  EXPECT_EQ(client.read(handle, 6000, 4096).body, "");
  struct stat host{};
  ASSERT_EQ(::stat(folder.share("file").c_str(), &host), 0);
  EXPECT_EQ(host.st_mode & 07777, 0640u);
  fuse_fsync_in sync{};
  sync.fh = handle;
  EXPECT_EQ(client.call(FUSE_FSYNC, node, bytes(sync)).error, 0);
  sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
  EXPECT_EQ(client.call(FUSE_FSYNC, node, bytes(sync)).error, 0);
  fuse_flush_in flush{};
  flush.fh = handle;
  EXPECT_EQ(client.call(FUSE_FLUSH, node, bytes(flush)).error, 0);
  fuse_release_in release{};
  release.fh = handle;
  EXPECT_EQ(client.call(FUSE_RELEASEDIR, node, bytes(release)).error, EBADF);
  EXPECT_EQ(client.call(FUSE_RELEASE, node, bytes(release)).error, 0);
  EXPECT_EQ(client.call(FUSE_RELEASE, node, bytes(release)).error, EBADF);
  EXPECT_EQ(client.read(handle, 0, 10).error, EBADF);
  EXPECT_EQ(client.create(root, "file", O_RDWR | O_EXCL).error, EEXIST);
  EXPECT_EQ(client.read(Client::handle_of_create(client.create(root, "file", O_RDWR)), 3, 2).body, "qq");
  EXPECT_EQ(client.open(root, O_RDONLY).error, EISDIR);
}

TEST_F(FuseServer, AppendingGoesToTheEndUnlessItIsTheCache) {
  Folder::write(folder.share("log"), "0123456789");
  const u64 handle = client.open(client.node_of("log"), O_WRONLY | O_APPEND).as<fuse_open_out>().fh;
  EXPECT_EQ(client.write(handle, 2, "ab", O_WRONLY | O_APPEND).error, 0);
  EXPECT_EQ(Folder::read(folder.share("log")), "0123456789ab");
  EXPECT_EQ(client.write(handle, 2, "XY", O_WRONLY | O_APPEND, FUSE_WRITE_CACHE).error, 0);
  EXPECT_EQ(Folder::read(folder.share("log")), "01XY456789ab");
}

TEST_F(FuseServer, AnUnchangedFileMayStayInTheCache) {
  Folder::write(folder.share("file"), "one");
  const timespec past[2] = {{1'000'000, 0}, {1'000'000, 0}};
  const u64 node = client.node_of("file");
  ASSERT_EQ(::utimensat(AT_FDCWD, folder.share("file").c_str(), past, 0), 0);
  const auto keeps = [&] { return (client.open(node, O_RDONLY).as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE) != 0; };
  EXPECT_FALSE(keeps());  // the first time
  ::usleep(120'000);      // past the grain of the file system's clock
  (void)keeps();
  EXPECT_TRUE(keeps());
  Folder::write(folder.share("file"), "two");
  EXPECT_FALSE(keeps());
}

TEST_F(FuseServer, AFileThatGrewOnTheHostIsLookedUpAgain) {
  Folder::write(folder.share("file"), "short");
  const u64 node = client.node_of("file");
  const u64 handle = client.open(node, O_RDWR).as<fuse_open_out>().fh;
  EXPECT_EQ(client.write(handle, 5, " and more").error, 0);
  EXPECT_EQ(client.open(node, O_RDWR).error, 0);  // its own writes it knows
  Folder::write(folder.share("file"), "changed by the host");
  EXPECT_EQ(client.open(node, O_RDONLY).error, ESTALE);
  EXPECT_EQ(client.node_of("file"), node);
  EXPECT_EQ(client.open(node, O_RDONLY).error, 0);
  Folder::write(folder.share("file"), "again");
  EXPECT_EQ(client.open(node, O_RDONLY).error, 0);  // never twice in a row
}

TEST_F(FuseServer, AttributesChange) {
  Folder::write(folder.share("file"), "0123456789");
  const u64 node = client.node_of("file");
  fuse_setattr_in in{};
  in.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME | FATTR_ATIME;
  in.mode = 0600;
  in.size = 4;
  in.mtime = 12345;
  in.mtimensec = 678;
  in.atime = 1;
  const auto out = client.setattr(node, in).as<fuse_attr_out>();
  EXPECT_EQ(out.attr.mode, S_IFREG | 0600u);
  EXPECT_EQ(out.attr.size, 4u);
  EXPECT_EQ(out.attr.mtime, 12345u);
  EXPECT_EQ(out.attr.mtimensec, 678u);
  EXPECT_EQ(Folder::read(folder.share("file")), "0123");
  in = {};
  in.valid = FATTR_MTIME;
  in.mtimensec = 1'000'000'000;
  EXPECT_EQ(client.setattr(node, in).error, EINVAL);
  in = {};
  in.valid = FATTR_SIZE;
  EXPECT_EQ(client.setattr(root, in).error, EISDIR);
  in.size = ~u64{0};
  EXPECT_EQ(client.setattr(node, in).error, EFBIG);
  in.valid = FATTR_MTIME_NOW;
  EXPECT_GT(client.setattr(node, in).as<fuse_attr_out>().attr.mtime, 1'000'000'000u);
}

TEST_F(FuseServer, OwnersAreTheClientsWhereWeMay) {
  client.uid = 1234;
  client.gid = 2345;
  client.create(root, "file", O_RDWR, 04755);
  client.mkdir(root, "dir", 02750);
  client.call(FUSE_SYMLINK, root, name("link") + name("target"));
  struct stat host{};
  for (const char* text : {"file", "dir", "link"}) {
    ASSERT_EQ(::lstat(folder.share(text).c_str(), &host), 0);
    EXPECT_EQ(host.st_uid, ::geteuid() == 0 ? 1234u : ::geteuid()) << text;
    EXPECT_EQ(host.st_gid, ::geteuid() == 0 ? 2345u : ::getegid()) << text;
  }
  ASSERT_EQ(::stat(folder.share("file").c_str(), &host), 0);
  EXPECT_EQ(host.st_mode & 07777, 04755u);
  ASSERT_EQ(::stat(folder.share("dir").c_str(), &host), 0);
  EXPECT_EQ(host.st_mode & 07777, 02750u);
  fuse_setattr_in in{};
  in.valid = FATTR_UID;
  in.uid = 77;
  const auto reply = client.setattr(client.node_of("file"), in);
  if (::geteuid() != 0) {
    EXPECT_EQ(reply.error, EPERM);
    return;
  }
  EXPECT_EQ(reply.as<fuse_attr_out>().attr.uid, 77u);
  // What is made in a set-group-id folder has its group, and folders hand the bit on.
  const u64 inner = client.node_of("dir");
  client.gid = 999;
  client.create(inner, "prog", O_RDWR, 02755);
  client.mkdir(inner, "sub", 0755);
  ASSERT_EQ(::stat(folder.share("dir/prog").c_str(), &host), 0);
  EXPECT_EQ(host.st_gid, 2345u);
  EXPECT_EQ(host.st_mode & 07777, 0755u);
  ASSERT_EQ(::stat(folder.share("dir/sub").c_str(), &host), 0);
  EXPECT_EQ(host.st_gid, 2345u);
  EXPECT_EQ(host.st_mode & 07777, 02755u);
}

TEST_F(FuseServer, SetUserIdEndsWithAWrite) {
  const auto mode = [&] {
    struct stat host{};
    EXPECT_EQ(::stat(folder.share("prog").c_str(), &host), 0);
    return host.st_mode & 07777;
  };
  Folder::write(folder.share("prog"), "code");
  ASSERT_EQ(::chmod(folder.share("prog").c_str(), 06755), 0);
  const u64 node = client.node_of("prog");
  const u64 handle = client.open(node, O_RDWR).as<fuse_open_out>().fh;
  EXPECT_EQ(client.write(handle, 0, "x", 0, FUSE_WRITE_KILL_SUIDGID).error, 0);
  EXPECT_EQ(mode(), 0755u);
  ASSERT_EQ(::chmod(folder.share("prog").c_str(), 06755), 0);
  fuse_setattr_in in{};
  in.valid = FATTR_SIZE | FATTR_KILL_SUIDGID;
  EXPECT_EQ(client.setattr(node, in).error, 0);
  EXPECT_EQ(mode(), 0755u);
  ASSERT_EQ(::chmod(folder.share("prog").c_str(), 06755), 0);
  EXPECT_EQ(client.open(node, O_RDWR | O_TRUNC, FUSE_OPEN_KILL_SUIDGID).error, 0);
  EXPECT_EQ(mode(), 0755u);
}

TEST_F(FuseServer, NamesComeAndGo) {
  const u64 dir = client.mkdir(root, "dir").as<fuse_entry_out>().nodeid;
  EXPECT_EQ(client.mkdir(root, "dir").error, EEXIST);
  EXPECT_EQ(client.mknod(dir, "file", S_IFREG | 0600).error, 0);
  fuse_link_in link{};
  link.oldnodeid = client.node_of("dir/file");
  const auto linked = client.call(FUSE_LINK, root, bytes(link) + name("hard"));
  EXPECT_EQ(linked.as<fuse_entry_out>().nodeid, link.oldnodeid);
  EXPECT_EQ(linked.as<fuse_entry_out>().attr.nlink, 2u);
  EXPECT_EQ(client.call(FUSE_SYMLINK, root, name("soft") + name("/etc/passwd")).error, 0);
  const u64 soft = client.node_of("soft");
  EXPECT_EQ(client.call(FUSE_READLINK, soft, "").body, "/etc/passwd");
  EXPECT_EQ(client.call(FUSE_READLINK, dir, "").error, EINVAL);
  link.oldnodeid = soft;
  EXPECT_EQ(client.call(FUSE_LINK, root, bytes(link) + name("soft2")).as<fuse_entry_out>().nodeid, soft);

  EXPECT_EQ(client.rename(root, "hard", dir, "file", RENAME_NOREPLACE).error, EEXIST);
  EXPECT_EQ(client.rename(root, "hard", root, "soft", RENAME_EXCHANGE).error, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(folder.share("hard")));
  EXPECT_EQ(client.rename(root, "soft", dir, "moved").error, 0);
  EXPECT_TRUE(std::filesystem::exists(folder.share("dir/moved")));
  EXPECT_EQ(client.rename(root, "hard", dir, "x", 1 << 9).error, EINVAL);
  EXPECT_EQ(client.call(FUSE_RENAME, root, bytes(fuse_rename_in{dir}) + name("hard") + name("hard")).error, 0);

  EXPECT_EQ(client.call(FUSE_RMDIR, root, name("dir")).error, ENOTEMPTY);
  EXPECT_EQ(client.call(FUSE_UNLINK, root, name("dir")).error, EISDIR);
  for (const char* text : {"file", "moved", "hard"}) EXPECT_EQ(client.call(FUSE_UNLINK, dir, name(text)).error, 0);
  EXPECT_EQ(client.call(FUSE_RMDIR, root, name("dir")).error, 0);
  EXPECT_EQ(client.call(FUSE_UNLINK, root, name("dir")).error, ENOENT);
}

TEST_F(FuseServer, FoldersAreListedWholeInAnySteps) {
  std::map<std::string, u64> wanted = {{".", 0}, {"..", 0}};
  for (int i = 0; i < 700; ++i) {
    const std::string text = "file-" + std::string(static_cast<std::size_t>(i) % 60, 'x') + std::to_string(i);
    Folder::write(folder.share(text), "");
    wanted[text] = 0;
  }
  for (u32 size : {400u, 4096u, 100'000u}) EXPECT_EQ(client.list(root, false, size), wanted) << size;
  for (u32 size : {600u, 4096u, 200'000u}) {
    const auto listed = client.list(root, true, size);
    EXPECT_EQ(listed.size(), wanted.size());
    for (const auto& [text, node] : listed) {
      if (text[0] == '.') {
        EXPECT_EQ(node, 0u);
      } else {
        EXPECT_EQ(client.lookup(root, text).as<fuse_entry_out>().nodeid, node);
      }
    }
  }
  // What lies above the root is not shown.
  const u64 handle = client.call(FUSE_OPENDIR, root, bytes(fuse_open_in{})).as<fuse_open_out>().fh;
  fuse_read_in in{};
  in.fh = handle;
  in.size = 4096;
  const auto reply = client.call(FUSE_READDIR, root, bytes(in));
  struct stat above{};
  ASSERT_EQ(::stat(folder.base.c_str(), &above), 0);
  for (std::size_t at = 0; at < reply.body.size();) {
    const auto entry = reply.as<fuse_dirent>(at);
    EXPECT_NE(entry.ino, above.st_ino);
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
  }
  EXPECT_EQ(client.call(FUSE_FSYNCDIR, root, bytes(fuse_fsync_in{handle, 0, 0})).error, 0);
}

TEST_F(FuseServer, ExtendedAttributesOfUsersOnly) {
  Folder::write(folder.share("file"), "");
  if (::setxattr(folder.share("file").c_str(), "user.probe", "1", 1, 0) != 0) GTEST_SKIP() << "the file system has no attributes";
  const u64 node = client.node_of("file");
  EXPECT_EQ(client.setxattr(node, "user.key", "value").error, 0);
  EXPECT_EQ(client.setxattr(node, "user.key", "value", XATTR_CREATE).error, EEXIST);
  EXPECT_EQ(client.getxattr(node, "user.key").body, "value");
  EXPECT_EQ(client.getxattr(node, "user.key", 0).as<fuse_getxattr_out>().size, 5u);
  EXPECT_EQ(client.getxattr(node, "user.key", 3).error, ERANGE);
  EXPECT_EQ(client.getxattr(node, "user.none").error, ENODATA);
  EXPECT_EQ(client.setxattr(node, "security.selinux", "x").error, EOPNOTSUPP);
  EXPECT_EQ(client.setxattr(node, "system.posix_acl_access", "x").error, EOPNOTSUPP);
  EXPECT_EQ(client.setxattr(node, "user." + std::string(300, 'k'), "x").error, ERANGE);
  fuse_getxattr_in in{};
  in.size = 4096;
  EXPECT_EQ(client.call(FUSE_LISTXATTR, node, bytes(in)).body, name("user.probe") + name("user.key"));
  in.size = 3;
  EXPECT_EQ(client.call(FUSE_LISTXATTR, node, bytes(in)).error, ERANGE);
  in.size = 0;
  EXPECT_EQ(client.call(FUSE_LISTXATTR, node, bytes(in)).as<fuse_getxattr_out>().size, 20u);
  EXPECT_EQ(client.call(FUSE_REMOVEXATTR, node, name("user.key")).error, 0);
  EXPECT_EQ(client.getxattr(node, "user.key").error, ENODATA);
  // A value shorter than its size says.
  fuse_setxattr_in lie{};
  lie.size = 100;
  EXPECT_EQ(client.call(FUSE_SETXATTR, node, bytes(lie) + name("user.key") + "short").error, EINVAL);
}

TEST_F(FuseServer, HolesCopiesAndAllocation) {
  const auto made = client.create(root, "sparse");
  const u64 handle = Client::handle_of_create(made), node = made.as<fuse_entry_out>().nodeid;
  fuse_fallocate_in allocate{};
  allocate.fh = handle;
  allocate.length = MiB;
  EXPECT_EQ(client.call(FUSE_FALLOCATE, node, bytes(allocate)).error, 0);
  EXPECT_EQ(std::filesystem::file_size(folder.share("sparse")), MiB);
  EXPECT_EQ(client.write(handle, 512 * KiB, std::string(4096, 'd')).error, 0);
  allocate.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  allocate.length = 512 * KiB;
  EXPECT_EQ(client.call(FUSE_FALLOCATE, node, bytes(allocate)).error, 0);
  fuse_lseek_in seek{};
  seek.fh = handle;
  seek.whence = SEEK_DATA;
  EXPECT_EQ(client.call(FUSE_LSEEK, node, bytes(seek)).as<fuse_lseek_out>().offset, 512 * KiB);
  seek.whence = SEEK_SET;
  EXPECT_EQ(client.call(FUSE_LSEEK, node, bytes(seek)).error, EINVAL);
  const auto copy = client.create(root, "copy");
  fuse_copy_file_range_in range{};
  range.fh_in = handle;
  range.off_in = 512 * KiB;
  range.fh_out = Client::handle_of_create(copy);
  range.len = 4096;
  EXPECT_EQ(client.call(FUSE_COPY_FILE_RANGE, node, bytes(range)).as<fuse_write_out>().size, 4096u);
  EXPECT_EQ(Folder::read(folder.share("copy")), std::string(4096, 'd'));
  EXPECT_EQ(client.call(FUSE_SYNCFS, root, bytes(fuse_syncfs_in{})).error, 0);
  const auto info = client.call(FUSE_STATFS, root, "").as<fuse_statfs_out>();
  EXPECT_GT(info.st.blocks, 0u);
  EXPECT_EQ(info.st.namelen, 255u);
}

TEST_F(FuseServer, AccessAsksTheHost) {
  fuse_access_in in{};
  in.mask = R_OK | X_OK;
  EXPECT_EQ(client.call(FUSE_ACCESS, root, bytes(in)).error, 0);
  in.mask = 64;
  EXPECT_EQ(client.call(FUSE_ACCESS, root, bytes(in)).error, EINVAL);
}

TEST_F(FuseServer, UnknownOperationsAreSaidToBe) {
  for (u32 opcode : {0u, u32{FUSE_GETLK}, u32{FUSE_SETLK}, u32{FUSE_SETLKW}, u32{FUSE_IOCTL}, u32{FUSE_POLL}, 52u, 4096u, ~0u}) {
    EXPECT_EQ(client.call(opcode, root, std::string(64, 'x')).error, ENOSYS) << opcode;
  }
}

struct ReadOnlyShare : FuseServer {
  ReadOnlyShare() : FuseServer(true) {}
};

TEST_F(ReadOnlyShare, ChangesNothing) {
  Folder::write(folder.share("file"), "content");
  const u64 node = client.node_of("file");
  EXPECT_EQ(client.create(root, "new").error, EROFS);
  EXPECT_EQ(client.mkdir(root, "new").error, EROFS);
  EXPECT_EQ(client.mknod(root, "new", S_IFREG | 0600).error, EROFS);
  EXPECT_EQ(client.call(FUSE_SYMLINK, root, name("new") + name("x")).error, EROFS);
  EXPECT_EQ(client.call(FUSE_UNLINK, root, name("file")).error, EROFS);
  EXPECT_EQ(client.rename(root, "file", root, "new").error, EROFS);
  EXPECT_EQ(client.open(node, O_RDWR).error, EROFS);
  EXPECT_EQ(client.open(node, O_RDONLY | O_TRUNC).error, EROFS);
  EXPECT_EQ(client.setxattr(node, "user.x", "y").error, EROFS);
  fuse_setattr_in in{};
  in.valid = FATTR_MODE;
  EXPECT_EQ(client.setattr(node, in).error, EROFS);
  const u64 handle = client.open(node, O_RDONLY).as<fuse_open_out>().fh;
  EXPECT_EQ(client.write(handle, 0, "x").error, EROFS);
  EXPECT_EQ(client.read(handle, 0, 100).body, "content");
}

}  // namespace
}  // namespace nagaya::fuse
