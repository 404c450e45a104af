-- daily_summary: one row for each device: its pictures of a day, and what was found on them.
--
-- :day_begin  the first moment of the day, in the zone whose days are meant
-- :day_end    the first moment of the next day
--
-- Reads for each device its part of images_device_captured, and of each picture its detections by
-- detections_image. A device without pictures has a row, too: a camera that is silent is seen.
SELECT v.device_id AS device,
       COUNT(DISTINCT i.id) AS pictures,
       COUNT(DISTINCT d.image_id) AS with_detections,
       COUNT(DISTINCT CASE WHEN i.processing_status = 'failed' THEN i.id END) AS failed,
       COUNT(d.id) AS detections,
       MAX(d.confidence) AS highest_confidence
FROM devices AS v
LEFT JOIN images AS i ON i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
LEFT JOIN detections AS d ON d.image_id = i.id
GROUP BY v.device_id
ORDER BY v.device_id
