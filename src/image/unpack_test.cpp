// Layers into folders: what overlayfs needs is there, and nothing hostile gets out.
#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "image/unpack.hpp"

namespace nagaya::image {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// Writes archives entry by entry.
class Tar {
 public:
  explicit Tar(const std::string& path) : out_(archive_write_new()) {
    archive_write_set_format_pax_restricted(out_);
    archive_write_open_filename(out_, path.c_str());
  }
  Tar(const Tar&) = delete;
  Tar& operator=(const Tar&) = delete;
  ~Tar() { archive_write_free(out_); }
  Tar& add(const char* path, unsigned type, const std::string& content = "", unsigned mode = 0644, i64 uid = 0) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_uid(entry, uid);
    archive_entry_set_gid(entry, uid);
    archive_entry_set_mtime(entry, 1'000'000'000, 0);
    if (type == AE_IFLNK) archive_entry_set_symlink(entry, content.c_str());
    if (type == AE_IFREG) archive_entry_set_size(entry, static_cast<i64>(content.size()));
    archive_entry_xattr_add_entry(entry, "user.note", "yes", 3);
    archive_entry_xattr_add_entry(entry, "trusted.overlay.redirect", "/etc", 4);
    write(entry, type == AE_IFREG ? content : "");
    return *this;
  }
  Tar& link(const char* path, const char* target) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_hardlink(entry, target);
    write(entry, "");
    return *this;
  }

 private:
  void write(archive_entry* entry, const std::string& content) {
    archive_write_header(out_, entry);
    archive_write_data(out_, content.data(), content.size());
    archive_entry_free(entry);
  }
  archive* out_;
};

class Unpack : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "owners and whiteouts need root";
    fs::remove_all(base_);
    fs::create_directories(base_ + "/fs");
    fs::create_directories(base_ + "/outside");
  }
  void TearDown() override { fs::remove_all(base_); }
  Result<u64> unpack(UnpackOptions options = {}) { return unpack_layer(base_ + "/a.tar", base_ + "/fs", options, {}); }
  Tar tar() { return Tar(base_ + "/a.tar"); }
  [[nodiscard]] struct stat at(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(::lstat((base_ + "/fs/" + path).c_str(), &info), 0) << path;
    return info;
  }
  [[nodiscard]] std::string attribute(const std::string& path, const char* name) const {
    char value[64];
    const ssize_t got = ::lgetxattr((base_ + "/fs/" + path).c_str(), name, value, sizeof value);
    return got < 0 ? "-" : std::string(value, static_cast<std::size_t>(got));
  }
  const std::string base_ = ::testing::TempDir() + "nagaya-unpack-" + std::to_string(::getpid());
};

TEST_F(Unpack, KeepsWhatEntriesSay) {
  tar().add("./", AE_IFDIR, "", 0711).add("d/", AE_IFDIR, "", 0500, 7).add("d/f", AE_IFREG, "text", 04755, 1234).link("d/g", "d/f").add("d/l", AE_IFLNK, "/etc/passwd").add("null", AE_IFCHR);
  const auto done = unpack();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(*done, 4u);
  EXPECT_EQ(at("").st_mode & 07777, 0711u);
  EXPECT_EQ(at("d").st_mode & 07777, 0500u);
  EXPECT_EQ(at("d").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(at("d/f").st_mode & 07777, 04755u);
  EXPECT_EQ(at("d/f").st_uid, 1234u);
  EXPECT_EQ(at("d/f").st_ino, at("d/g").st_ino);
  EXPECT_EQ(fs::read_symlink(base_ + "/fs/d/l"), "/etc/passwd");
  EXPECT_EQ(attribute("d/f", "user.note"), "yes");
  EXPECT_EQ(attribute("d/f", "trusted.overlay.redirect"), "-");
  EXPECT_FALSE(fs::exists(base_ + "/fs/null")) << "a device with a whiteout's numbers";
}

TEST_F(Unpack, WhiteoutsAreOverlayfsOwn) {
  tar().add("d/", AE_IFDIR).add("d/.wh..wh..opq", AE_IFREG).add("d/new", AE_IFREG, "n").add(".wh.gone", AE_IFREG).add(".wh.back", AE_IFREG).add("back/", AE_IFDIR);
  ASSERT_TRUE(unpack());
  EXPECT_EQ(attribute("d", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(at("d/new").st_size, 1);
  EXPECT_TRUE(S_ISCHR(at("gone").st_mode));
  EXPECT_EQ(at("gone").st_rdev, 0u);
  EXPECT_EQ(attribute("back", "trusted.overlay.opaque"), "y") << "a folder in place of what is hidden shows nothing of it";
}

TEST_F(Unpack, OntoLowerLayersWhiteoutsRemove) {
  const UnpackOptions over{.onto_lower = true};
  tar().add("d/", AE_IFDIR).add("d/old", AE_IFREG, "o").add("d/deep/er", AE_IFREG, "o").add("gone/in", AE_IFREG, "o").add("stays", AE_IFREG, "o").add("file", AE_IFREG, "o").add("link", AE_IFLNK, "kept").add("kept/in", AE_IFREG, "o");
  ASSERT_TRUE(unpack(over));
  // The marks come after what stands in place of what they hide.
  tar().add("d/", AE_IFDIR, "", 0700).add("d/new", AE_IFREG, "n").add("d/.wh..wh..opq", AE_IFREG).add(".wh.gone", AE_IFREG).add("stays", AE_IFREG, "new").add(".wh.stays", AE_IFREG)
      .add("file/.wh.x", AE_IFREG).add("file/", AE_IFDIR).add("link/.wh..wh..opq", AE_IFREG).add("link/", AE_IFDIR).add(".wh.never", AE_IFREG);
  const auto done = unpack(over);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(at("d").st_mode & 07777, 0700u);
  EXPECT_EQ(at("d/new").st_size, 1);
  EXPECT_EQ(at("stays").st_size, 3);
  EXPECT_TRUE(S_ISDIR(at("file").st_mode)) << "a folder in place of a file, with something to hide in it";
  EXPECT_TRUE(S_ISDIR(at("link").st_mode));
  EXPECT_EQ(at("kept/in").st_size, 1) << "what a link led to is not hidden by a folder in its place";
  for (const char* name : {"d/old", "d/deep", "gone", "never", ".wh.gone", "d/.wh..wh..opq"}) EXPECT_FALSE(fs::exists(base_ + "/fs/" + name)) << name;
  tar().add(".wh..wh..opq", AE_IFREG);
  ASSERT_TRUE(unpack(over));
  EXPECT_TRUE(fs::is_empty(base_ + "/fs")) << "all can be hidden";
  const std::string outside = base_ + "/outside";
  std::ofstream(outside + "/target") << "kept";
  tar().add("out", AE_IFLNK, outside);
  ASSERT_TRUE(unpack(over));
  tar().add("out/.wh.target", AE_IFREG).add("out/.wh..wh..opq", AE_IFREG);
  (void)unpack(over);
  tar().add("../outside/.wh.target", AE_IFREG);
  EXPECT_FALSE(unpack(over));
  EXPECT_EQ(fs::file_size(outside + "/target"), 4u) << "nothing outside is hidden";
}

TEST_F(Unpack, NothingLeadsOut) {
  const std::string outside = base_ + "/outside";
  tar().add("out", AE_IFLNK, outside).add("out/file", AE_IFREG, "x");
  (void)unpack();
  EXPECT_TRUE(fs::is_empty(outside)) << "through an absolute link";
  fs::remove_all(base_ + "/fs");
  fs::create_directories(base_ + "/fs");
  tar().add("up", AE_IFLNK, "../outside").add("up/file", AE_IFREG, "x");
  (void)unpack();
  EXPECT_TRUE(fs::is_empty(outside)) << "through a relative link";
  for (const char* path : {"../outside/file", "a/../../outside/file"}) {
    tar().add(path, AE_IFREG, "x");
    const auto done = unpack();
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().message(), HasSubstr("'..' in its path"));
  }
  tar().link("passwd", "/etc/passwd");
  EXPECT_FALSE(unpack()) << "a hard link to a file of the host";
  std::ofstream(outside + "/target") << "kept";
  tar().add("file", AE_IFLNK, outside + "/target").add("file", AE_IFREG, "replaced");
  ASSERT_TRUE(unpack());
  EXPECT_EQ(fs::file_size(outside + "/target"), 4u);
  EXPECT_EQ(at("file").st_size, 8);
}

TEST_F(Unpack, LaterEntriesReplaceEarlierOnes) {
  tar().add("a/b/c", AE_IFREG, "x").add("a", AE_IFLNK, "z").add("z/", AE_IFDIR).add("a/new", AE_IFREG, "y");
  ASSERT_TRUE(unpack());
  EXPECT_EQ(at("z/new").st_size, 1);
  EXPECT_TRUE(S_ISLNK(at("a").st_mode));
}

TEST_F(Unpack, LimitsHold) {
  tar().add("a", AE_IFREG, std::string(100, 'x')).add("b", AE_IFREG, std::string(100, 'x'));
  EXPECT_FALSE(unpack({.limits = {.content = 150}}));
  EXPECT_FALSE(unpack({.limits = {.entries = 1}}));
}

}  // namespace
}  // namespace nagaya::image
