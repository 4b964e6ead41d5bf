// From layers to disks: OCI layouts and archives written here, some of them hostile; the result is looked at by e2fsck and debugfs.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include "block/create.hpp"
#include "image/digest.hpp"
#include "image/ext4.hpp"
#include "image/layers.hpp"
#include "image/oci.hpp"

namespace nagaya::image {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Writes a tar archive entry by entry.
class Tar {
 public:
  explicit Tar(const std::string& path, bool zstd = false) : out_(archive_write_new()) {
    archive_write_set_format_pax_restricted(out_);
    if (zstd) archive_write_add_filter_zstd(out_);
    if (archive_write_open_filename(out_, path.c_str()) != ARCHIVE_OK) std::abort();
  }
  Tar(const Tar&) = delete;
  Tar& operator=(const Tar&) = delete;
  ~Tar() {
    archive_write_close(out_);
    archive_write_free(out_);
  }
  Tar& put(const std::string& name, unsigned type, const std::string& content, unsigned mode = 0644, const std::function<void(archive_entry*)>& more = {}) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_mode(entry, static_cast<mode_t>(type | mode));
    archive_entry_set_mtime(entry, 1'700'000'000, 0);
    if (type == AE_IFLNK) archive_entry_set_symlink(entry, content.c_str());
    archive_entry_set_size(entry, type == AE_IFREG ? static_cast<la_int64_t>(content.size()) : 0);
    if (more) more(entry);
    if (archive_write_header(out_, entry) != ARCHIVE_OK) std::abort();
    if (type == AE_IFREG && archive_entry_hardlink(entry) == nullptr) archive_write_data(out_, content.data(), content.size());
    archive_entry_free(entry);
    return *this;
  }
  Tar& file(const std::string& name, const std::string& content) { return put(name, AE_IFREG, content); }
  Tar& hard_link(const std::string& name, const std::string& target) {
    return put(name, AE_IFREG, "", 0644, [&](archive_entry* e) { archive_entry_set_hardlink(e, target.c_str()); });
  }

 private:
  archive* out_;
};

/// What a command prints; its exit status is added when it is not 0.
std::string output_of(const std::string& command) {
  std::string out;
  FILE* in = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), in)) out.append(buffer.data(), got);
  if (const int status = ::pclose(in); status != 0) out += "\nstatus " + std::to_string(WEXITSTATUS(status));
  return out;
}

struct DiskTest : testing::Test {
  DiskTest() {
    root = fs::temp_directory_path() / ("nagaya-disk-" + std::to_string(::getpid()));
    fs::remove_all(root);
    fs::create_directories(root / "blobs/sha256");
  }
  ~DiskTest() override { fs::remove_all(root); }
  std::string path(const std::string& name) const { return root / name; }
  std::string debugfs(const std::string& command) const { return output_of("/sbin/debugfs -R '" + command + "' " + path("disk")); }
  Result<u64> disk_of(const Layers& layers) {
    TRY_ASSIGN(const Tree tree, read_tree(layers));
    return make_ext4(layers, tree, {.path = path("disk"), .label = "test", .scratch = root}, {});
  }

  fs::path root;
};

TEST_F(DiskTest, KeepsAllThatAFileSystemHas) {
  const std::string big(300'000, 'b'), capability("\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  {
    Tar tar(path("layer"), true);
    tar.put("./", AE_IFDIR, "", 0750).put("bin/", AE_IFDIR, "", 0755).put("bin/tool", AE_IFREG, big, 04755, [&](archive_entry* e) {
      archive_entry_set_uid(e, 70'000);
      archive_entry_set_gid(e, 100'001);
      archive_entry_xattr_add_entry(e, "security.capability", capability.data(), capability.size());
      archive_entry_xattr_add_entry(e, "user.note", "hello", 5);
    });
    tar.put("bin/sh", AE_IFLNK, "tool").put("long", AE_IFLNK, std::string(200, 'l')).hard_link("bin/same", "bin/tool");
    tar.put("null", AE_IFCHR, "", 0666, [](archive_entry* e) { archive_entry_set_rdevmajor(e, 1), archive_entry_set_rdevminor(e, 3); });
    tar.put("huge", AE_IFBLK, "", 0600, [](archive_entry* e) { archive_entry_set_rdevmajor(e, 259), archive_entry_set_rdevminor(e, 70'000); });
    tar.put("pipe", AE_IFIFO, "", 0600).file("empty", "");
    for (int i = 0; i < 3000; ++i) tar.file("many/file-with-a-name-" + std::to_string(i), "");
  }
  const auto size = disk_of({.files = {path("layer")}});
  ASSERT_TRUE(size) << size.error().message();
  EXPECT_THAT(output_of("/sbin/e2fsck -fn " + path("disk")), AllOf(HasSubstr("non-contiguous"), Not(HasSubstr("status")), Not(HasSubstr("Fix"))));
  EXPECT_THAT(debugfs("stat /bin/tool"), AllOf(HasSubstr("User: 70000   Group: 100001"), HasSubstr("Mode:  04755"), HasSubstr("Links: 2"), HasSubstr("Size: 300000"),
                                               HasSubstr("user.note (5) = \"hello\""), HasSubstr("security.capability (20)"), HasSubstr("mtime: 0x6553f100")));
  EXPECT_THAT(debugfs("stat /"), AllOf(HasSubstr("Mode:  0750"), HasSubstr("Links: 5")));
  EXPECT_THAT(debugfs("stat /bin/sh"), HasSubstr("Fast link dest: \"tool\""));
  EXPECT_THAT(debugfs("stat /long"), HasSubstr("Size: 200"));
  EXPECT_THAT(debugfs("stat /null"), HasSubstr("Device major/minor number: 01:03"));
  EXPECT_THAT(debugfs("stat /huge"), HasSubstr("Device major/minor number: 259:70000"));
  EXPECT_THAT(debugfs("stat /pipe"), HasSubstr("FIFO"));
  EXPECT_THAT(debugfs("stat /many/file-with-a-name-2999"), HasSubstr("regular"));
  EXPECT_EQ(output_of("/sbin/debugfs -R 'cat /bin/same' " + path("disk") + " 2>/dev/null | tail -c 300000 | sha256sum").substr(0, 64), sha256(big));
}

TEST_F(DiskTest, HostileLayers) {
  struct Case {
    const char* what;
    std::function<void(Tar&)> write;
    const char* error;
  };
  const std::vector<Case> cases = {
      {"up", [](Tar& t) { t.file("../../etc/passwd", "x"); }, "'..' in its path"},
      {"hard link out", [](Tar& t) { t.hard_link("a", "../../etc/passwd"); }, "'..' in its path"},
      {"hard link to nothing", [](Tar& t) { t.hard_link("a", "/etc/shadow"); }, "not there"},
      {"circle", [](Tar& t) { t.put("a", AE_IFLNK, "b").put("b", AE_IFLNK, "a").file("a/x", ""); }, "too many symbolic links"},
      {"whiteout of the root", [](Tar& t) { t.file(".wh...", ""); }, "cannot be hidden"},
      {"device", [](Tar& t) { t.put("d", AE_IFCHR, "", 0, [](archive_entry* e) { archive_entry_set_rdevmajor(e, 1 << 20); }); }, "out of range"},
      {"file as a folder", [](Tar& t) { t.file("a", "").file("a/b", ""); }, "no folder"},
  };
  for (const Case& one : cases) {
    {
      Tar tar(path("layer"));
      one.write(tar);
    }
    const auto tree = read_tree({.files = {path("layer")}});
    ASSERT_FALSE(tree) << one.what;
    EXPECT_THAT(tree.error().message(), HasSubstr(one.error)) << one.what;
  }
  // A link that leads out of a root is a link within the disk.
  {
    Tar tar(path("layer"));
    tar.put("out", AE_IFLNK, "../../../../tmp").file("out/nagaya-escaped", "x");
  }
  const auto tree = read_tree({.files = {path("layer")}});
  ASSERT_TRUE(tree);
  EXPECT_NE(tree->find("tmp/nagaya-escaped"), nullptr);
  EXPECT_FALSE(fs::exists("/tmp/nagaya-escaped"));
}

TEST_F(DiskTest, BombsAndDamage) {
  {
    Tar tar(path("layer"), true);
    tar.file("big", std::string(4 * MiB, 0));
  }
  EXPECT_THAT(read_tree({.files = {path("layer")}}, {.content = MiB}).error().message(), HasSubstr("content"));
  fs::resize_file(path("layer"), fs::file_size(path("layer")) / 2);
  const Layers layers{.files = {path("layer")}};
  const auto tree = read_tree(layers);
  EXPECT_FALSE(tree && read_content(layers, *tree, [](const Node&) { return true; }, [](const NodePtr&, u64, std::span<const u8>) -> Result<> { return {}; }));
  std::ofstream(path("layer")) << "no archive at all, but long enough to be looked at";
  EXPECT_FALSE(read_tree(layers));
}

struct LayoutTest : DiskTest {
  /// Adds content, gives its descriptor.
  std::string blob(const std::string& content, const std::string& type, const std::string& more = {}) {
    const std::string hash = sha256(content);
    std::ofstream(root / "blobs/sha256" / hash) << content;
    return R"({"mediaType":")" + type + R"(","digest":"sha256:)" + hash + R"(","size":)" + std::to_string(content.size()) + more + "}";
  }
  void layout(const std::string& config, const std::vector<std::string>& layers, const std::string& more = {}) {
    std::string list;
    for (const std::string& layer : layers) list += (list.empty() ? "" : ",") + layer;
    const std::string manifest = blob(R"({"schemaVersion":2,"config":)" + blob(config, "application/vnd.oci.image.config.v1+json") + R"(,"layers":[)" + list + "]}",
                                      "application/vnd.oci.image.manifest.v1+json", more);
    std::ofstream(path("index.json")) << R"({"schemaVersion":2,"manifests":[)" + manifest + "]}";
  }
  std::string tar_blob(const std::function<void(Tar&)>& write) {
    {
      Tar tar(path("layer"));
      write(tar);
    }
    std::ifstream in(path("layer"));
    return blob(std::string(std::istreambuf_iterator<char>(in), {}), "application/vnd.oci.image.layer.v1.tar");
  }
  const std::string good = R"({"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/app"],"Cmd":["-v"],"Env":["A=1","junk"],"User":"web","Volumes":{"/data":{}},"Labels":null}})";
};

TEST_F(LayoutTest, IsReadAndBecomesADisk) {
  layout(good, {tar_blob([](Tar& t) { t.file("a", "1").file("gone", "x").file("dir/old", "x"); }), tar_blob([](Tar& t) { t.file(".wh.gone", "").file("dir/.wh..wh..opq", "").file("dir/new", "2"); })});
  const auto opened = open_layout(root, "", {});
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->config.entrypoint, std::vector<std::string>{"/bin/app"});
  EXPECT_EQ(opened->config.env, std::vector<std::string>{"A=1"});
  EXPECT_EQ(opened->config.volumes, std::vector<std::string>{"/data"});
  ASSERT_TRUE(disk_of({.files = opened->layers}));
  EXPECT_THAT(debugfs("ls -p /dir"), AllOf(HasSubstr("/new/"), Not(HasSubstr("/old/"))));
  EXPECT_THAT(debugfs("ls -p /"), AllOf(HasSubstr("/a/"), Not(HasSubstr("/gone/")), Not(HasSubstr(".wh."))));
}

TEST_F(LayoutTest, ContentIsWhatItsHashSays) {
  const std::string layer = tar_blob([](Tar& t) { t.file("a", "1"); });
  layout(good, {layer});
  const std::string hash = layer.substr(layer.find("sha256:") + 7, 64);
  std::fstream(root / "blobs/sha256" / hash) << "X";
  EXPECT_THAT(open_layout(root, "", {}).error().message(), HasSubstr("hash"));
  fs::resize_file(root / "blobs/sha256" / hash, 3);
  EXPECT_THAT(open_layout(root, "", {}).error().message(), HasSubstr("3 bytes where"));
  fs::remove(root / "blobs/sha256" / hash);
  fs::create_symlink("/etc/passwd", root / "blobs/sha256" / hash);
  EXPECT_FALSE(open_layout(root, "", {}));
  fs::remove(root / "blobs/sha256" / hash);
  ASSERT_EQ(::mkfifo((root / "blobs/sha256" / hash).c_str(), 0600), 0);
  EXPECT_FALSE(open_layout(root, "", {}));
}

TEST_F(LayoutTest, ChoosesPlatformAndName) {
  layout(good, {}, R"(,"platform":{"architecture":"arm64","os":"linux"})");
  EXPECT_THAT(open_layout(root, "", {}).error().message(), HasSubstr("linux on amd64"));
  layout(good, {}, R"(,"annotations":{"org.opencontainers.image.ref.name":"1.0"})");
  EXPECT_TRUE(open_layout(root, "1.0", {}));
  EXPECT_TRUE(open_layout(root, "", {}));
  EXPECT_FALSE(open_layout(root, "2.0", {}));
}

TEST(OciDocuments, Nonsense) {
  EXPECT_FALSE(parse_oci_index("{}"));
  EXPECT_FALSE(parse_oci_index(R"({"manifests":[]})"));
  EXPECT_FALSE(parse_oci_index(R"({"manifests":[{"digest":"sha256:../../etc/passwd","size":1}]})"));
  EXPECT_FALSE(parse_oci_index(R"({"manifests":[{"digest":"sha256:)" + std::string(64, 'a') + R"(","size":-1}]})"));
  EXPECT_FALSE(parse_oci_manifest(R"({"config":[],"layers":{}})"));
  EXPECT_FALSE(parse_oci_config(R"({"architecture":"arm64","os":"linux"})"));
  const auto asked = parse_oci_config(R"({"architecture":"amd64","os":"linux","config":{"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":5000000,"Retries":2}}})");
  ASSERT_TRUE(asked) << asked.error().message();
  EXPECT_EQ(asked->health, (HealthCheck{.test = {"CMD-SHELL", "x"}, .interval_ms = 5, .retries = 2}));
  for (const char* health : {"7", "{\"Test\":\"x\"}", "{\"Interval\":-5}", "{\"Retries\":\"3\"}"}) {
    EXPECT_FALSE(parse_oci_config(fmt::format(R"({{"architecture":"amd64","os":"linux","config":{{"Healthcheck":{}}}}})", health))) << health;
  }
  EXPECT_FALSE(parse_oci_config(R"({"architecture":"amd64","os":"linux","config":{"Cmd":"sh"}})"));
  EXPECT_FALSE(parse_oci_config(R"({"architecture":"amd64","os":"linux","config":{"Cmd":[1]}})"));
  EXPECT_FALSE(parse_oci_config("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"User\":\"a\\u0000b\"}}"));
  EXPECT_TRUE(parse_oci_config(R"({"architecture":"amd64","os":"linux"})"));
  EXPECT_FALSE(parse_oci_manifest(std::string(100'000, '[')));
}

TEST(OciSource, Words) {
  EXPECT_EQ(parse_oci_source("alpine")->skopeo, "docker://alpine:latest");
  EXPECT_EQ(parse_oci_source("docker://docker.io/library/debian:12")->name, "debian:12");
  EXPECT_FALSE(parse_oci_source("--help"));
  EXPECT_FALSE(parse_oci_source("a b"));
  EXPECT_FALSE(parse_oci_source("docker-archive:/proc/nowhere/at/all"));
  EXPECT_FALSE(parse_oci_source("dir:/tmp"));
}

}  // namespace
}  // namespace nagaya::image
