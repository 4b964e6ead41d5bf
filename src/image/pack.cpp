#include "image/pack.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/core.h>

#include <memory>
#include <vector>

#include "host/fd.hpp"

namespace nagaya::image {

Result<> pack(const std::string& from, const std::string& to, const Work& work) {
  TRY_ASSIGN(const host::Fd in, host::Fd::open(from, O_RDONLY));
  const std::unique_ptr<archive, int (*)(archive*)> out(archive_write_new(), archive_write_free);
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), archive_entry_free);
  const auto failed = [&] {
    const char* why = archive_error_string(out.get());
    return fail(fmt::format("cannot write '{}'", to), why != nullptr ? why : "");
  };
  // One nameless entry: the file as it is, through the filter.
  archive_write_set_format_raw(out.get());
  if (archive_write_add_filter_zstd(out.get()) != ARCHIVE_OK || archive_write_open_filename(out.get(), to.c_str()) != ARCHIVE_OK) return failed();
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  if (archive_write_header(out.get(), entry.get()) != ARCHIVE_OK) return failed();
  std::vector<u8> buffer(MiB);
  for (;;) {
    TRY(work.check());
    TRY_ASSIGN(const std::size_t got, host::read_up_to(in.get(), buffer));
    if (got != 0 && archive_write_data(out.get(), buffer.data(), got) != static_cast<la_ssize_t>(got)) return failed();
    if (got < buffer.size()) break;
  }
  if (archive_write_close(out.get()) != ARCHIVE_OK) return failed();
  return {};
}

}  // namespace nagaya::image
