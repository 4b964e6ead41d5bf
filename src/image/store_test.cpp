#include "image/store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "image/digest.hpp"
#include "image/reference.hpp"

namespace nagaya::image {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct StoreTest : testing::Test {
  StoreTest() {
    root = fs::temp_directory_path() / ("nagaya-store-" + std::to_string(::getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root);
    store.emplace(*Store::open(root / "images", root / "domains"));
  }
  ~StoreTest() override { fs::remove_all(root); }
  std::string file(const std::string& name, const std::string& content) {
    std::ofstream(root / name) << content;
    return root / name;
  }
  Image add(const std::string& name, const std::string& content, const std::string& kernel = "kernel") {
    return store->add({.name = name, .disk = file("d", content), .disk_format = "raw", .disk_size = content.size(), .kernel = file("k", kernel)}).value();
  }
  std::size_t blobs() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(root / "images/blobs"), {})); }

  fs::path root;
  std::optional<Store> store;
};

TEST_F(StoreTest, FindsByNameTagAndPrefix) {
  const Image image = add("debian", "disk");
  EXPECT_EQ(image.names, std::vector<std::string>{"debian:latest"});
  for (const std::string& by : {std::string("debian"), std::string("debian:latest"), image.id, image.id.substr(0, 6)}) {
    ASSERT_TRUE(store->find(by)) << by;
    EXPECT_EQ(store->find(by)->id, image.id);
  }
  EXPECT_EQ(sha256_of_file(image.disk_path), sha256("disk"));
  EXPECT_EQ(store->find("debian:1").error().code, ENOENT);
  EXPECT_THAT(store->find("../x").error().message(), HasSubstr("no image"));
  EXPECT_TRUE(store->verify(image));
}

TEST_F(StoreTest, SharedContentStaysUntilTheLastImageGoes) {
  const Image one = add("one", "disk 1"), two = add("two", "disk 2");
  EXPECT_EQ(blobs(), 3u);
  EXPECT_EQ(*store->remove("one"), one.id);
  EXPECT_EQ(blobs(), 2u);
  EXPECT_TRUE(store->verify(two));
  EXPECT_EQ(*store->remove(two.id.substr(0, 10)), two.id);
  EXPECT_EQ(blobs(), 0u);
  EXPECT_TRUE(store->list()->empty());
}

TEST_F(StoreTest, NamesMove) {
  const Image one = add("a:1", "disk 1");
  ASSERT_TRUE(store->tag("a:1", "b"));
  EXPECT_EQ(*store->remove("a:1"), std::nullopt);
  EXPECT_EQ(store->find("b")->id, one.id);
  add("b", "disk 2");
  EXPECT_TRUE(store->find(one.id)->names.empty());
  EXPECT_EQ(store->list()->size(), 2u);
}

TEST_F(StoreTest, AnImageInUseStays) {
  const Image image = add("debian", "disk");
  fs::create_directories(root / "domains/web");
  std::ofstream(root / "domains/web/machine.json") << R"({"image": ")" << image.id << "\"}";
  EXPECT_THAT(store->remove("debian").error().message(), HasSubstr("'web' depends on it"));
  fs::remove_all(root / "domains/web");
  EXPECT_TRUE(store->remove("debian"));
}

TEST_F(StoreTest, ChangedFilesAreFound) {
  const Image image = add("debian", "disk");
  fs::permissions(image.disk_path, fs::perms::owner_all);
  std::ofstream(image.disk_path) << "else";
  EXPECT_THAT(store->verify(image).error().message(), HasSubstr("content of its disk was changed"));
  std::ofstream(root / "images/manifests" / (image.id + ".json")) << "{}";
  EXPECT_THAT(store->find("debian").error().message(), HasSubstr("manifest was changed"));
}

TEST_F(StoreTest, AnImageWithoutKernelGetsTheStores) {
  const Image oci = store->add({.kind = Kind::oci, .name = "box", .disk = file("d", "x"), .disk_format = "raw", .disk_size = 1, .oci = {.cmd = {"sh"}}}).value();
  EXPECT_EQ(store->find("box")->kernel_path, "");
  const Image kernel = store->add({.kind = Kind::kernel, .name = "kernel", .kernel = file("k", "k"), .initrd = file("i", "i")}).value();
  EXPECT_EQ(store->find("box")->kernel_path, kernel.kernel_path);
  EXPECT_EQ(store->find("box")->initrd_path, kernel.initrd_path);
  EXPECT_EQ(store->find("box")->oci.cmd, std::vector<std::string>{"sh"});
}

TEST_F(StoreTest, AbandonedWorkIsRemoved) {
  fs::create_directories(root / "images/scratch/abc/deep");
  std::string path;
  {
    const auto mine = store->scratch();
    path = mine->path();
    EXPECT_FALSE(fs::exists(root / "images/scratch/abc"));
    const auto other = store->scratch();
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(Manifest, RefusesWhatItDoesNotKnow) {
  const std::string good = R"({"version":1,"kind":"kernel","created":1,"source":"","blobs":{"kernel":{"sha256":")" + std::string(64, 'a') + R"(","size":1}}})";
  EXPECT_TRUE(Manifest::from_json(good, "m")) << Manifest::from_json(good, "m").error().message();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return Manifest::from_json(text, "m");
  };
  EXPECT_FALSE(with("\"version\":1", "\"version\":2"));
  EXPECT_FALSE(with("\"kernel\",", "\"disk\","));
  EXPECT_FALSE(with("\"source\"", "\"sauce\""));
  EXPECT_FALSE(with("aaaa", "../a"));
  EXPECT_FALSE(with("{\"kernel\":", "{\"../../x\":"));
  EXPECT_FALSE(Manifest::from_json("[", "m"));
}

TEST(Reference, Grammar) {
  EXPECT_EQ(Reference::parse("debian")->text(), "debian:latest");
  EXPECT_EQ(Reference::parse("registry.example:5000/team/app:1.2")->name, "registry.example:5000/team/app");
  EXPECT_EQ(Reference::parse("registry.example:5000/team/app:1.2")->tag, "1.2");
  for (const char* bad : {"", ":", "a:", "-a", "a/", "/a", "../a", "a//b", "A", "a:-t", "a b", "a\nb", "a@b", "h:x/a", "a..b"}) {
    EXPECT_FALSE(Reference::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace nagaya::image
