#include "image/seed.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

namespace nagaya::image {
namespace {

using testing::HasSubstr;

const std::string key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0= \"quotes\": {and} 'more' # of them";

std::map<std::string, std::string> files_of(const std::vector<u8>& iso) {
  std::map<std::string, std::string> out;
  archive* in = archive_read_new();
  archive_read_support_format_iso9660(in);
  EXPECT_EQ(archive_read_open_memory(in, iso.data(), iso.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(in, &entry) == ARCHIVE_OK) {
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), 0);
    EXPECT_EQ(archive_read_data(in, content.data(), content.size()), static_cast<la_ssize_t>(content.size()));
    out[archive_entry_pathname(entry)] = content;
  }
  archive_read_free(in);
  return out;
}

TEST(Seed, IsAnIsoThatCloudInitKnows) {
  const auto iso = make_seed({.hostname = "web-1", .instance_id = "i-1", .ssh_keys = {key}, .user_data = "#cloud-config\npackages: [git]\n"});
  ASSERT_TRUE(iso) << iso.error().message();
  // ECMA-119, 8.4: the primary volume descriptor is sector 16; its volume identifier has 32 bytes from 40 on.
  EXPECT_EQ(std::string(iso->begin() + 16 * 2048 + 1, iso->begin() + 16 * 2048 + 6), "CD001");
  EXPECT_EQ(std::string(iso->begin() + 16 * 2048 + 40, iso->begin() + 16 * 2048 + 46), "CIDATA");
  EXPECT_EQ(iso->size() % 512, 0u);
  auto files = files_of(*iso);
  EXPECT_EQ(files["user-data"], "#cloud-config\npackages: [git]\n");
  const auto meta = nlohmann::json::parse(files["meta-data"]);
  EXPECT_EQ(meta["local-hostname"], "web-1");
  EXPECT_EQ(meta["public-keys"][0], key);
  EXPECT_FALSE(files.contains("network-config"));
}

TEST(Seed, RefusesWhatWouldBreakOut) {
  const SeedConfig good{.hostname = "a", .instance_id = "i"};
  EXPECT_TRUE(make_seed(good));
  for (const char* name : {"a b", "a\nb: c", "-a", "a-", "a..b", "ä", "a_b", "{}"}) {
    SeedConfig config = good;
    config.hostname = name;
    EXPECT_FALSE(make_seed(config)) << name;
    EXPECT_EQ(hostname_word(name), "") << name;
  }
  for (const std::string& line : {std::string("ssh-ed25519 A\nssh-rsa B"), std::string("hello"), std::string("xssh-rsa A"), std::string(20000, 'a')}) {
    SeedConfig config = good;
    config.ssh_keys = {line};
    EXPECT_FALSE(make_seed(config)) << line.substr(0, 40);
  }
  SeedConfig config = good;
  config.user_data = "packages: [git]";
  EXPECT_THAT(make_seed(config).error().message(), HasSubstr("#cloud-config"));
  config.instance_id = "";
  EXPECT_FALSE(make_seed(config));
}

TEST(Seed, Credentials) {
  EXPECT_TRUE(credentials({}).empty());
  const auto items = credentials({"a", "b"});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_LE(items[0].first.size(), 55u);  // a fw_cfg name and its final zero are 56 bytes
  EXPECT_EQ(items[0].second, "a\nb\n");
  EXPECT_EQ(hostname_word("web"), "systemd.hostname=web");
}

TEST(Seed, TheDefaultKeyIsMadeOnce) {
  const auto folder = std::filesystem::temp_directory_path() / ("nagaya-key-" + std::to_string(::getpid()));
  const auto first = default_key(folder);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_THAT(first->public_line, HasSubstr("ssh-ed25519 "));
  struct stat info {};
  ASSERT_EQ(::stat(first->private_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(default_key(folder)->public_line, first->public_line);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace nagaya::image
