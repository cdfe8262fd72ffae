/** Line drawings of 20 by 20; what they mean is said by the button around them. */
import type { ReactNode } from "react";

function icon(path: ReactNode) {
  return function Icon() {
    return (
      <svg
        className="icon"
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.7"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {path}
      </svg>
    );
  };
}

export const CloseIcon = icon(<path d="M5 5l10 10M15 5L5 15" />);
export const PlusIcon = icon(<path d="M10 4v12M4 10h12" />);
export const SearchIcon = icon(
  <>
    <circle cx="9" cy="9" r="5" />
    <path d="M13 13l4 4" />
  </>,
);
export const MoreIcon = icon(
  <g fill="currentColor" stroke="none">
    <circle cx="4.5" cy="10" r="1.6" />
    <circle cx="10" cy="10" r="1.6" />
    <circle cx="15.5" cy="10" r="1.6" />
  </g>,
);
export const MenuIcon = icon(<path d="M3 5.5h14M3 10h14M3 14.5h14" />);
export const TasksIcon = icon(
  <path d="M8 5.5h9M8 10h9M8 14.5h9M3 5.5l1 1 1.7-2M3 10l1 1 1.7-2M3 14.5l1 1 1.7-2" />,
);
export const SendIcon = icon(<path d="M10 16V4M5 9l5-5 5 5" />);
export const StopIcon = icon(
  <rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor" />,
);
export const DownIcon = icon(<path d="M5 8l5 5 5-5" />);
export const CopyIcon = icon(
  <>
    <rect x="7" y="7" width="9" height="9" rx="2" />
    <path d="M13 7V5.5A1.5 1.5 0 0 0 11.500 4h-6A1.500 1.500 0 0 0 4 5.500v6A1.500 1.500 0 0 0 5.500 13H7" />
  </>,
);
export const CheckIcon = icon(<path d="M4.500 10.500l3.500 3.500 7.500-8" />);
export const ToolIcon = icon(
  <path d="M12.500 3.500a4 4 0 0 0-3.800 5.300L3.500 14l2.500 2.500 5.200-5.200a4 4 0 0 0 5-5.200l-2.400 2.400-2-.300-.300-2z" />,
);
export const WarnIcon = icon(<path d="M10 3.500l7.500 13h-15zM10 8.500v3.500M10 14.300v.100" />);
