#include "image/seed.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/scope.hpp"
#include "host/dirs.hpp"
#include "host/fd.hpp"
#include "image/tool.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::image {
namespace {

constexpr std::size_t longest_user_data = MiB;

la_ssize_t collect(archive*, void* out, const void* data, std::size_t size) {
  auto& bytes = *static_cast<std::vector<u8>*>(out);
  bytes.insert(bytes.end(), static_cast<const u8*>(data), static_cast<const u8*>(data) + size);
  return static_cast<la_ssize_t>(size);
}

class IsoWriter {
 public:
  IsoWriter() : archive_(archive_write_new()) {}
  IsoWriter(const IsoWriter&) = delete;
  IsoWriter& operator=(const IsoWriter&) = delete;
  ~IsoWriter() { archive_write_free(archive_); }

  Result<> open(const char* label) {
    if (archive_write_set_format_iso9660(archive_) != ARCHIVE_OK ||
        archive_write_set_options(archive_, fmt::format("volume-id={}", label).c_str()) != ARCHIVE_OK ||
        archive_write_open(archive_, &bytes_, nullptr, collect, nullptr) != ARCHIVE_OK)
      return failed();
    return {};
  }
  Result<> file(const char* name, const std::string& content) {
    archive_entry* entry = archive_entry_new();
    const ScopeExit free([&] { archive_entry_free(entry); });
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    if (archive_write_header(archive_, entry) != ARCHIVE_OK ||
        archive_write_data(archive_, content.data(), content.size()) != static_cast<la_ssize_t>(content.size()))
      return failed();
    return {};
  }
  Result<std::vector<u8>> finish() {
    if (archive_write_close(archive_) != ARCHIVE_OK) return failed();
    bytes_.resize((bytes_.size() + 511) & ~std::size_t{511});
    return std::move(bytes_);
  }

 private:
  std::unexpected<Error> failed() const {
    const char* why = archive_error_string(archive_);
    return fail("cannot make a cloud-init seed", why != nullptr ? why : "");
  }
  archive* archive_;
  std::vector<u8> bytes_;
};

Result<> check_user_data(const std::string& text) {
  if (text.size() > longest_user_data) return fail("user data", "larger than 1 MiB");
  for (const char* start : {"#cloud-config", "#!", "#include", "#cloud-boothook", "#part-handler", "#cloud-config-archive", "#template", "## template:", "Content-Type:", "MIME-Version:", "\x1f\x8b"}) {
    if (text.starts_with(start)) return {};
  }
  return fail("user data", "cloud-init would not know what it is", "it begins with #cloud-config, or #! for a script");
}

std::string meta_data(const SeedConfig& config) {
  // JSON is YAML, too, and its quoting is beyond doubt.
  nlohmann::ordered_json out{{"instance-id", config.instance_id}};
  if (!config.hostname.empty()) out["local-hostname"] = config.hostname;
  if (!config.ssh_keys.empty()) out["public-keys"] = config.ssh_keys;
  return proto::print(out, 2) + "\n";
}

}  // namespace

Result<> check_hostname(const std::string& name) {
  const auto bad = [&] {
    return fail(fmt::format("host name '{}'", name.substr(0, 100)), "not of letters, digits and '-' in parts of 1 to 63, 253 in all");
  };
  if (name.empty() || name.size() > 253) return bad();
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    const std::string_view part = std::string_view(name).substr(at, end - at);
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
    if (part.empty() || part.size() > 63 || !plain(part.front()) || !plain(part.back())) return bad();
    if (!std::ranges::all_of(part, [&](char c) { return plain(c) || c == '-'; })) return bad();
    at = end + 1;
  }
  return {};
}

Result<> check_ssh_key(const std::string& line) {
  const std::string shown = line.substr(0, 60);
  if (line.size() > 16 * KiB) return fail("an SSH key", "longer than 16 KiB");
  if (std::ranges::any_of(line, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; })) return fail("an SSH key", "a control character in it");
  for (const char* type : {"ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-nistp", "sk-ssh-ed25519@openssh.com ", "sk-ecdsa-sha2-nistp256@openssh.com "}) {
    const std::size_t at = line.find(type);
    if (at == 0 || (at != std::string::npos && line[at - 1] == ' ')) return {};
  }
  return fail(fmt::format("SSH key '{}'", shown), "not a line of a .pub file", "it begins with ssh-ed25519, for example");
}

Result<std::vector<u8>> make_seed(const SeedConfig& config) {
  if (config.instance_id.empty()) return fail("a cloud-init seed", "it needs an instance id");
  if (!config.hostname.empty()) TRY(check_hostname(config.hostname));
  for (const std::string& key : config.ssh_keys) TRY(check_ssh_key(key));
  if (!config.user_data.empty()) TRY(check_user_data(config.user_data));
  IsoWriter iso;
  TRY(iso.open("CIDATA"));
  TRY(iso.file("meta-data", meta_data(config)));
  TRY(iso.file("user-data", config.user_data.empty() ? "#cloud-config\n{}\n" : config.user_data));
  if (!config.network.empty()) TRY(iso.file("network-config", config.network));
  return iso.finish();
}

std::vector<std::pair<std::string, std::string>> credentials(const std::vector<std::string>& ssh_keys) {
  std::string text;
  for (const std::string& key : ssh_keys) text += key + "\n";
  if (text.empty()) return {};
  return {{"opt/io.systemd.credentials/ssh.authorized_keys.root", text}};
}

std::string hostname_word(const std::string& hostname) { return check_hostname(hostname) ? "systemd.hostname=" + hostname : ""; }

Result<DefaultKey> default_key() { return default_key(host::state_dir() + "/ssh"); }

Result<DefaultKey> default_key(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail_errno(fmt::format("cannot make '{}'", folder), error.value());
  DefaultKey out{.private_path = folder + "/id_ed25519", .public_line = {}};
  // Two first machines at once make one key.
  TRY_ASSIGN(const host::Fd lock, host::Fd::open(folder, O_RDONLY | O_DIRECTORY));
  if (::flock(lock.get(), LOCK_EX) != 0) return fail_errno(fmt::format("cannot lock '{}'", folder));
  if (::access((out.private_path + ".pub").c_str(), F_OK) != 0 || ::access(out.private_path.c_str(), F_OK) != 0) {
    const std::string fresh = folder + "/new";
    for (const char* end : {"", ".pub"}) ::unlink((fresh + end).c_str());
    TRY(run_tool({.name = "ssh-keygen", .package = "openssh-client", .args = {"-q", "-t", "ed25519", "-N", "", "-C", "nagaya", "-f", fresh}, .scratch = folder}, {}));
    ::unlink((folder + "/ssh-keygen.log").c_str());
    if (::rename(fresh.c_str(), out.private_path.c_str()) != 0 || ::rename((fresh + ".pub").c_str(), (out.private_path + ".pub").c_str()) != 0) {
      return fail_errno(fmt::format("cannot write '{}'", out.private_path));
    }
  }
  TRY_ASSIGN(const std::vector<u8> bytes, host::read_file(out.private_path + ".pub", 64 * KiB));
  out.public_line.assign(bytes.begin(), bytes.end());
  while (!out.public_line.empty() && out.public_line.back() == '\n') out.public_line.pop_back();
  TRY(check_ssh_key(out.public_line));
  return out;
}

}  // namespace nagaya::image
