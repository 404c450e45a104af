-- confident_pictures: stored pictures with the detections that versions were most certain of.
--
-- :confidence  the lowest confidence, such as 0.8
-- :most        how many pictures at most
--
-- Reads detections_confidence from its upper end, and leaves out all but the best detection of a picture;
-- each picture is looked up by its id.
SELECT i.id AS image_id, i.lakefs_path, i.captured_at, d.label, d.confidence,
       d.model_name, d.model_version, d.model_digest
FROM detections AS d
JOIN images AS i ON i.id = d.image_id
WHERE d.confidence >= :confidence
  AND i.deleted_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM detections AS other
    WHERE other.image_id = d.image_id
      AND (other.confidence > d.confidence OR (other.confidence = d.confidence AND other.id > d.id))
  )
ORDER BY d.confidence DESC
LIMIT :most
