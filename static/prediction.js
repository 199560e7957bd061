/** What a prediction says, in words. */

/** @typedef {import("./types.js").Prediction} Prediction */

/** @type {Record<string, string>} */
const REASONS = { low_confidence: "low confidence", unlike_training: "unlike the training images" };

/** "Unsure" with the reason, or empty. @param {Prediction} prediction */
export const doubtOf = ({ unsure, reason }) => (unsure ? `Unsure: ${REASONS[reason ?? ""] ?? "low confidence"}` : "");
