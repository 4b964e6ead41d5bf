// For tests: a client's end of the protocol, and a folder of the host that goes away with it.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "fuse/protocol.hpp"
#include "fuse/server.hpp"

namespace nagaya::fuse::testing {

/// DIR/share is what is shared; DIR/outside is what nobody may reach.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "nagaya-fuse-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    base = name;
    std::filesystem::create_directory(share());
    write(outside(), "secret");
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(base, ignored);
  }
  [[nodiscard]] std::filesystem::path share(const std::string& name = {}) const { return name.empty() ? base / "share" : base / "share" / name; }
  [[nodiscard]] std::filesystem::path outside() const { return base / "outside"; }
  static void write(const std::filesystem::path& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::filesystem::path base;
};

template <class T>
std::string bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
inline std::string name(const std::string& text) { return text + std::string(1, '\0'); }

struct Reply {
  bool any = false;  ///< there was a reply
  int error = 0;     ///< positive
  std::string body;
  template <class T>
  [[nodiscard]] T as(std::size_t at = 0) const {
    T value{};
    if (at + sizeof value <= body.size()) std::memcpy(&value, body.data() + at, sizeof value);
    return value;
  }
};

class Client {
 public:
  explicit Client(Server& server, bool begin = true) : server(server) {
    if (begin) init();
  }

  /// The request in two pieces and room in two pieces, as a guest's pages lie.
  std::optional<Reply> raw(const std::string& request, std::size_t room) {
    std::string first = request.substr(0, request.size() / 3), second = request.substr(request.size() / 3);
    std::string out_first(room / 5, '\xee'), out_second(room - room / 5, '\xee');
    const iovec in[] = {{first.data(), first.size()}, {second.data(), second.size()}};
    const iovec out[] = {{out_first.data(), out_first.size()}, {out_second.data(), out_second.size()}};
    const auto length = server.serve(in, out);
    if (!length) return {};
    const std::string all = out_first + out_second;
    EXPECT_LE(*length, room);
    for (std::size_t i = *length; i < room && call_is_small(request); ++i) EXPECT_EQ(all[i], '\xee') << "byte " << i << " behind the reply";
    Reply reply;
    if (*length == 0) return reply;
    fuse_out_header head{};
    std::memcpy(&head, all.data(), sizeof head);
    EXPECT_EQ(head.len, *length);
    EXPECT_EQ(head.unique, unique);
    reply.any = true;
    reply.error = -head.error;
    reply.body = all.substr(sizeof head, *length - sizeof head);
    return reply;
  }
  Reply call(u32 opcode, u64 node, const std::string& arguments, std::size_t room = 8192) {
    fuse_in_header head{};
    head.len = static_cast<u32>(sizeof head + arguments.size());
    head.opcode = opcode;
    head.nodeid = node;
    head.unique = ++unique;
    head.uid = uid;
    head.gid = gid;
    auto reply = raw(bytes(head) + arguments, room);
    EXPECT_TRUE(reply.has_value());
    return reply.value_or(Reply{});
  }

  Reply init(u64 flags = ~u64{0}) {
    fuse_init_in in{};
    in.major = 7;
    in.minor = 38;
    in.max_readahead = 128 * 1024;
    in.flags = static_cast<u32>(flags);
    in.flags2 = static_cast<u32>(flags >> 32);
    return call(FUSE_INIT, 0, bytes(in));
  }
  Reply lookup(u64 node, const std::string& text) { return call(FUSE_LOOKUP, node, name(text)); }
  /// Of a path below the root; 0: an error.
  u64 node_of(const std::string& path) {
    u64 node = FUSE_ROOT_ID;
    for (const auto& part : std::filesystem::path(path)) node = lookup(node, part.string()).as<fuse_entry_out>().nodeid;
    return node;
  }
  Reply open(u64 node, u32 flags, u32 open_flags = 0) {
    fuse_open_in in{};
    in.flags = flags;
    in.open_flags = open_flags;
    return call(FUSE_OPEN, node, bytes(in));
  }
  Reply create(u64 folder, const std::string& text, u32 flags = O_RDWR, u32 mode = 0644) {
    fuse_create_in in{};
    in.flags = flags;
    in.mode = mode | S_IFREG;
    return call(FUSE_CREATE, folder, bytes(in) + name(text));
  }
  static u64 handle_of_create(const Reply& reply) { return reply.as<fuse_open_out>(sizeof(fuse_entry_out)).fh; }
  Reply mkdir(u64 folder, const std::string& text, u32 mode = 0755) {
    fuse_mkdir_in in{};
    in.mode = mode;
    return call(FUSE_MKDIR, folder, bytes(in) + name(text));
  }
  Reply mknod(u64 folder, const std::string& text, u32 mode, u32 device = 0) {
    fuse_mknod_in in{};
    in.mode = mode;
    in.rdev = device;
    return call(FUSE_MKNOD, folder, bytes(in) + name(text));
  }
  Reply read(u64 handle, u64 offset, u32 size) {
    fuse_read_in in{};
    in.fh = handle;
    in.offset = offset;
    in.size = size;
    return call(FUSE_READ, 0, bytes(in), size + sizeof(fuse_out_header));
  }
  Reply write(u64 handle, u64 offset, const std::string& data, u32 flags = 0, u32 write_flags = 0) {
    fuse_write_in in{};
    in.fh = handle;
    in.offset = offset;
    in.size = static_cast<u32>(data.size());
    in.flags = flags;
    in.write_flags = write_flags;
    return call(FUSE_WRITE, 0, bytes(in) + data);
  }
  Reply setattr(u64 node, const fuse_setattr_in& in) { return call(FUSE_SETATTR, node, bytes(in)); }
  Reply rename(u64 from_folder, const std::string& from, u64 to_folder, const std::string& to, u32 flags = 0) {
    fuse_rename2_in in{};
    in.newdir = to_folder;
    in.flags = flags;
    return call(FUSE_RENAME2, from_folder, bytes(in) + name(from) + name(to));
  }
  Reply setxattr(u64 node, const std::string& key, const std::string& value, u32 flags = 0) {
    fuse_setxattr_in in{};
    in.size = static_cast<u32>(value.size());
    in.flags = flags;
    return call(FUSE_SETXATTR, node, bytes(in) + name(key) + value);
  }
  Reply getxattr(u64 node, const std::string& key, u32 size = 4096) {
    fuse_getxattr_in in{};
    in.size = size;
    return call(FUSE_GETXATTR, node, bytes(in) + name(key), 70000);
  }
  /// Names in a folder with their node numbers (0 unless `plus`), in requests of `size` bytes.
  std::map<std::string, u64> list(u64 folder, bool plus, u32 size = 4096) {
    std::map<std::string, u64> out;
    const u64 handle = call(FUSE_OPENDIR, folder, bytes(fuse_open_in{})).as<fuse_open_out>().fh;
    for (u64 offset = 0;;) {
      fuse_read_in in{};
      in.fh = handle;
      in.offset = offset;
      in.size = size;
      const Reply reply = call(plus ? FUSE_READDIRPLUS : FUSE_READDIR, folder, bytes(in), size + sizeof(fuse_out_header));
      EXPECT_EQ(reply.error, 0);
      if (reply.body.empty()) break;
      for (std::size_t at = 0; at < reply.body.size();) {
        const u64 node = plus ? reply.as<fuse_entry_out>(at).nodeid : 0;
        const std::size_t head = at + (plus ? sizeof(fuse_entry_out) : 0);
        const auto entry = reply.as<fuse_dirent>(head);
        const std::string text = reply.body.substr(head + FUSE_NAME_OFFSET, entry.namelen);
        EXPECT_FALSE(out.contains(text)) << text << " twice";
        out[text] = node;
        offset = entry.off;
        at += FUSE_DIRENT_ALIGN(head - at + FUSE_NAME_OFFSET + entry.namelen);
      }
    }
    fuse_release_in release{};
    release.fh = handle;
    EXPECT_EQ(call(FUSE_RELEASEDIR, folder, bytes(release)).error, 0);
    return out;
  }
  void forget(u64 node, u64 count = 1) {
    fuse_forget_in in{};
    in.nlookup = count;
    EXPECT_FALSE(call(FUSE_FORGET, node, bytes(in), 0).any);
  }

  Server& server;
  u32 uid = 0, gid = 0;
  u64 unique = 0;

 private:
  static bool call_is_small(const std::string& request) { return request.size() < 10000; }
};

}  // namespace nagaya::fuse::testing
