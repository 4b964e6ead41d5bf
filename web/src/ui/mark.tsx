/** Our mark: three households under one roof. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 28 22" aria-hidden="true">
      <path class="mark-roof" d="M0 8 6 1h16l6 7v2H0z" />
      <path class="mark-room" d="M2 12h6.5v9H2zM10.75 12h6.5v9h-6.5zM19.5 12H26v9h-6.5z" />
    </svg>
  );
}
