#include "api/static_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/sha.h>

#include <array>
#include <filesystem>

#include "api/text.hpp"

namespace nagaya::api {
namespace {

constexpr u64 most_bytes = 64 * MiB;
constexpr std::size_t most_files = 4096;

std::string type_of(const std::string& name) {
  static const std::map<std::string, std::string> types = {
      {".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"}, {".mjs", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},   {".json", "application/json"},             {".svg", "image/svg+xml"},
      {".png", "image/png"},                 {".ico", "image/x-icon"},                  {".woff2", "font/woff2"},
      {".woff", "font/woff"},                {".txt", "text/plain; charset=utf-8"},     {".webmanifest", "application/manifest+json"},
      {".map", "application/json"}};
  const auto found = types.find(std::filesystem::path(name).extension().string());
  return found == types.end() ? "application/octet-stream" : found->second;
}

}  // namespace

std::string etag_of(std::string_view bytes) {
  std::array<u8, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const u8*>(bytes.data()), bytes.size(), digest.data());
  return fmt::format("\"{}\"", hexadecimal(std::span(digest).first(12)));
}

bool names_etag(std::string_view list, std::string_view etag) {
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    std::string_view one = list.substr(at, end - at);
    while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == etag) return true;
    at = end + 1;
  }
  return false;
}

Result<StaticFiles> StaticFiles::load(const std::string& folder) {
  namespace fs = std::filesystem;
  StaticFiles out;
  u64 total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!fs::is_regular_file(at->symlink_status())) continue;
    auto bytes = host::read_file(at->path().string(), most_bytes);
    if (!bytes) return std::unexpected(std::move(bytes.error()).within("the web console"));
    total += bytes->size();
    if (total > most_bytes || out.files_.size() >= most_files) return fail(fmt::format("'{}'", folder), "it is too large for a web console");
    const std::string path = "/" + fs::relative(at->path(), folder).string();
    File file{.content{bytes->begin(), bytes->end()}, .type = type_of(path), .forever = path.starts_with("/assets/")};
    file.etag = etag_of(file.content);
    out.files_[path] = std::move(file);
  }
  if (error) return fail(fmt::format("cannot read '{}'", folder), error.message());
  if (!out.files_.contains("/index.html")) return fail(fmt::format("'{}'", folder), "there is no index.html in it", "name the folder of the built web console");
  return out;
}

Reply StaticFiles::get(const std::string& path, const std::string& if_none_match) const {
  auto found = files_.find(path == "/" ? "/index.html" : path);
  // The console's own addresses ("/domains/web") all begin with its page; a missing script or picture is missing.
  if (found == files_.end() && path.find('.', path.rfind('/')) == std::string::npos) found = files_.find("/index.html");
  if (found == files_.end()) return problem_reply({.status = 404, .detail = "there is no such file"});
  const File& file = found->second;
  Reply out{.status = 200, .type = file.type, .body = file.content, .etag = file.etag};
  out.headers.emplace_back("Cache-Control", file.forever ? "public, max-age=31536000, immutable" : "no-cache");
  if (names_etag(if_none_match, file.etag)) {
    out.status = 304;
    out.body = std::string();
  }
  return out;
}

}  // namespace nagaya::api
